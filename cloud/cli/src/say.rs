//! Words for people, on standard error. Nobody has to read them: a reader that went away is no reason to
//! stop, or to panic.

use std::io::Write as _;

/// Writes one line to standard error, or nothing when it cannot be written.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
