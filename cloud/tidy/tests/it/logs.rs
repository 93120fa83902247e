//! Field names of log lines: dotted names of the object, units at the end (docs/LOGGING.md).

use crate::repository::{files, is_test, read, root, shown};

/// Names that were used for one object beside its dotted name.
const BARE: &[&str] = &[
    "device", "project", "rollout", "webhook", "release", "group", "command", "stream",
];

#[test]
fn fields_of_log_lines_are_dotted() {
    let mut bare = Vec::new();
    for file in files(&root(), &["rs"]) {
        if is_test(&file) {
            continue;
        }
        let source = read(&file);
        for (at, _) in source.match_indices("tracing::") {
            let call = &source[at + 9..];
            let is_event = ["trace!(", "debug!(", "info!(", "warn!(", "error!("];
            if !is_event.iter().any(|event| call.starts_with(event)) {
                continue;
            }
            let call = &call[..call.find(");").unwrap_or(call.len())];
            for name in BARE {
                let given = [
                    format!("({name} ="),
                    format!(" {name} ="),
                    format!("({name}, "),
                    format!("%{name},"),
                ];
                if given.iter().any(|form| call.contains(form.as_str())) {
                    let line = source[..at].lines().count();
                    bare.push(format!("{}:{line}: {name}", shown(&file)));
                }
            }
        }
    }
    assert!(
        bare.is_empty(),
        "name the field as `device.id`, `project.id`, …:\n{}",
        bare.join("\n")
    );
}
