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
            let logs = [
                "trace!(",
                "debug!(",
                "info!(",
                "warn!(",
                "error!(",
                "error_span!(",
                "instrument(",
            ];
            if !logs.iter().any(|macro_call| call.starts_with(macro_call)) {
                continue;
            }
            let call = arguments(call);
            for name in BARE {
                // As a field, or as the short form of one; not as the value of another field.
                let given = [
                    format!("({name} ="),
                    format!(" {name} ="),
                    format!("({name}, "),
                    format!("(%{name}, "),
                    format!(", %{name}, "),
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

/// Returns the beginning of a call, up to the parenthesis that closes it.
fn arguments(call: &str) -> &str {
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    for (at, character) in call.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => {
                depth -= 1;
                if depth == 0 {
                    return &call[..=at];
                }
            }
            _ => {}
        }
    }
    call
}
