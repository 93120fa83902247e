//! Messages for people on standard error. A closed standard error neither stops the program nor panics.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

/// True if only errors and questions are written.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Leaves out progress and notes from now on; errors and questions are still written.
pub(crate) fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Returns true if progress and notes are left out.
pub(crate) fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Writes one line about progress, or a note, to standard error, or nothing when it cannot be written or is not wanted.
pub(crate) fn say(text: &str) {
    if !is_quiet() {
        insist(text);
    }
}

/// Writes an error or a question to standard error, or nothing when it cannot be written.
pub(crate) fn insist(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
