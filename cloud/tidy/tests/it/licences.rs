//! Licences and sources of every dependency.

use crate::repository::{list, metadata, text};

const LICENCES: &[&str] = &[
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "0BSD",
];

/// Evaluates an SPDX expression against [`LICENCES`]: AND binds tighter than OR; parentheses are honoured.
fn licence_allowed(expression: &str) -> bool {
    let expression = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut tokens = expression.split_whitespace().peekable();
    let result = any_of(&mut tokens);
    result && tokens.next().is_none()
}

type Tokens<'t> = std::iter::Peekable<std::str::SplitWhitespace<'t>>;

fn any_of(tokens: &mut Tokens<'_>) -> bool {
    let mut result = all_of(tokens);
    while tokens.next_if_eq(&"OR").is_some() {
        result |= all_of(tokens);
    }
    result
}

fn all_of(tokens: &mut Tokens<'_>) -> bool {
    let mut result = one(tokens);
    while tokens.next_if_eq(&"AND").is_some() {
        result &= one(tokens);
    }
    result
}

fn one(tokens: &mut Tokens<'_>) -> bool {
    match tokens.next() {
        Some("(") => {
            let result = any_of(tokens);
            tokens.next() == Some(")") && result
        }
        Some(name) if tokens.next_if_eq(&"WITH").is_some() => {
            let exception = tokens.next().unwrap_or_default();
            LICENCES.contains(&format!("{name} WITH {exception}").as_str())
        }
        Some(name) => LICENCES.contains(&name),
        None => false,
    }
}

#[test]
fn licence_expressions_are_read_right() {
    for good in [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-3.0 OR MIT",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR MIT",
    ] {
        assert!(licence_allowed(good), "{good}");
    }
    for bad in [
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT OR Apache-2.0) AND GPL-3.0",
        "",
        "MIT )",
        "Apache-2.0 WITH other",
    ] {
        assert!(!licence_allowed(bad), "{bad}");
    }
}

#[test]
fn dependencies_come_from_the_registry_under_known_licences() {
    let metadata = metadata(&["--filter-platform", "x86_64-unknown-linux-gnu"]);
    for package in list(&metadata["packages"]) {
        let name = text(&package["name"]);
        if let Some(source) = package["source"].as_str() {
            assert!(source.starts_with("registry+"), "{name} comes from {source}");
        }
        // A crate that names a file instead of an expression: `ring` states "Apache-2.0 AND ISC" since 0.17.
        let licence = package["license"]
            .as_str()
            .unwrap_or_else(|| panic!("{name} states no licence"));
        assert!(licence_allowed(licence), "{name} has licence {licence}");
    }
}
