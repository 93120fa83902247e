//! Bounds of the local log: a line whose text or rate is controlled from outside is cut, and is written at
//! most once in ten seconds.

use std::sync::{LazyLock, Mutex, PoisonError};

use iottly_protocol::limits;

use crate::clock::Monotonic;

/// Minimum time between two messages of one kind, in milliseconds.
const INTERVAL_MS: u64 = 10_000;
/// Maximum size of a foreign text in a line of the local log, in bytes.
const MAX_LOG_TEXT_BYTES: usize = 200;

/// Limit of one message every ten seconds; counts the others.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    open_at_ms: u64,
    suppressed: u64,
}

impl Throttle {
    const fn new() -> Self {
        Self {
            open_at_ms: 0,
            suppressed: 0,
        }
    }

    /// Returns the number of suppressed messages since the last one if a message may pass now, else `None`.
    pub(crate) fn pass(&mut self, now_ms: u64) -> Option<u64> {
        if now_ms < self.open_at_ms {
            self.suppressed = self.suppressed.saturating_add(1);
            return None;
        }
        self.open_at_ms = now_ms.saturating_add(INTERVAL_MS);
        Some(std::mem::take(&mut self.suppressed))
    }
}

/// Limit of one kind of line in the local log, for all agents of the process.
#[derive(Debug)]
pub(crate) struct LogLimit(Mutex<Throttle>);

impl LogLimit {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Throttle::new()))
    }

    /// Returns the number of suppressed lines since the last one if a line may be written now, else `None`.
    pub(crate) fn pass(&self) -> Option<u64> {
        static CLOCK: LazyLock<Monotonic> = LazyLock::new(Monotonic::start);
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pass(CLOCK.now_ms())
    }
}

/// Cuts a foreign text for a line of the local log.
pub(crate) fn cut(text: &str) -> &str {
    limits::clip(text, MAX_LOG_TEXT_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_back_is_counted() {
        let mut throttle = Throttle::default();
        assert_eq!(throttle.pass(0), Some(0));
        assert_eq!(throttle.pass(1), None);
        assert_eq!(throttle.pass(INTERVAL_MS - 1), None);
        assert_eq!(throttle.pass(INTERVAL_MS), Some(2));
        assert_eq!(throttle.pass(2 * INTERVAL_MS), Some(0));
    }

    #[test]
    fn a_kind_of_line_is_limited_by_itself() {
        let first = LogLimit::new();
        let second = LogLimit::new();
        assert_eq!(first.pass(), Some(0));
        assert!((0..1000).all(|_| first.pass().is_none()));
        assert_eq!(second.pass(), Some(0));
    }

    #[test]
    fn a_foreign_text_is_cut_between_characters() {
        let long = "é".repeat(1 << 20);
        assert_eq!(cut(&long).len(), MAX_LOG_TEXT_BYTES);
        assert_eq!(cut("short"), "short");
    }
}
