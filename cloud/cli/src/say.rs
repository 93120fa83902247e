//! Messages for people on standard error. A closed standard error neither stops the program nor panics.

use std::io::Write as _;

/// Writes one line to standard error, or nothing when it cannot be written.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
