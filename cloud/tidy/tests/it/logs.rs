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
            for name in bare_fields(&source[at + 9..]) {
                let line = source[..at].lines().count();
                bare.push(format!("{}:{line}: {name}", shown(&file)));
            }
        }
    }
    assert!(
        bare.is_empty(),
        "name the field as `device.id`, `project.id`, …:\n{}",
        bare.join("\n")
    );
}

/// Macros that take fields.
const MACROS: &[&str] = &[
    "trace!(",
    "debug!(",
    "info!(",
    "warn!(",
    "error!(",
    "event!(",
    "trace_span!(",
    "debug_span!(",
    "info_span!(",
    "warn_span!(",
    "error_span!(",
    "span!(",
    "instrument(",
];

/// Returns the names of the list that the call at the start has as fields: with a value, or in the short form.
fn bare_fields(call: &str) -> Vec<&'static str> {
    if !MACROS.iter().any(|name| call.starts_with(name)) {
        return Vec::new();
    }
    // Whitespace is collapsed, so that a field on a line of its own looks like any other.
    let call = arguments(call).split_whitespace().collect::<Vec<_>>().join(" ");
    let call = call.replace("( ", "(").replace(" )", ")").replace(",)", ")");
    let named = |name: &&&str| {
        ["(", ", "].iter().any(|before| {
            let short = ["", "%", "?"].iter().any(|mark| {
                [",", ")"]
                    .iter()
                    .any(|after| call.contains(&format!("{before}{mark}{name}{after}")))
            });
            short || call.contains(&format!("{before}{name} ="))
        })
    };
    BARE.iter().filter(named).copied().collect()
}

#[test]
fn bare_fields_are_found_in_every_form() {
    for bad in [
        r#"warn!(device = %id, "x")"#,
        r#"warn!(%device, "x")"#,
        r#"error_span!("step", device = %id)"#,
        "info!(\n    error = %e,\n    ?device,\n    \"x\",\n)",
        r#"debug!(error = %e, device)"#,
    ] {
        assert_eq!(bare_fields(bad), ["device"], "{bad}");
    }
    for good in [
        r#"warn!(device.id = %device, "a device, lost")"#,
        r#"warn!("failed to reach device (x)")"#,
    ] {
        assert!(bare_fields(good).is_empty(), "{good}");
    }
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
