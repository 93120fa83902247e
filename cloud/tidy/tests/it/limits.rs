//! One limit has one name and one place.

use std::collections::BTreeSet;

use crate::repository::{code, files, is_test, read, root, shown};

#[test]
fn a_limit_of_the_protocol_is_not_repeated() {
    let home = root().join("agent/protocol/src/limits.rs");
    let names = constants(&code(&read(&home)));
    assert!(names.len() > 5, "the limits are found: {names:?}");
    let mut repeated = Vec::new();
    for file in files(&root(), &["rs"]) {
        if file != home && !is_test(&file) {
            let own = constants(&code(&read(&file)));
            repeated.extend(
                own.intersection(&names)
                    .map(|name| format!("{}: {name}", shown(&file))),
            );
        }
    }
    assert!(repeated.is_empty(), "use iottly_protocol::limits: {repeated:?}");
}

/// Names of the constants that bound something.
fn constants(code: &str) -> BTreeSet<String> {
    let declarations = code.match_indices("const ").filter_map(|(at, _)| {
        let name = &code[at + 6..];
        let name = &name[..name.find(':')?];
        (name.starts_with("MAX_") && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'))
            .then(|| name.to_owned())
    });
    declarations.collect()
}
