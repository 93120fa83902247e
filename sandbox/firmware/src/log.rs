//! The firmware's log. Lines above the rate budget are dropped and counted; on the developer's machine, every
//! line is dropped.

use crate::bindings::iottly::firmware::log;
use crate::device;

pub use crate::bindings::iottly::firmware::log::Level;

/// Writes a line.
pub fn write(level: Level, text: &str) {
    if device::present() {
        log::write(level, text);
    }
}

/// Writes a line for the author.
pub fn debug(text: &str) {
    write(Level::Debug, text);
}

/// Writes a line about a normal event.
pub fn info(text: &str) {
    write(Level::Info, text);
}

/// Writes a line about an unexpected event that was handled.
pub fn warn(text: &str) {
    write(Level::Warn, text);
}

/// Writes a line about a failure.
pub fn error(text: &str) {
    write(Level::Error, text);
}
