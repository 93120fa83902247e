//! The window of unacknowledged batches of one stream. Pure.

use std::collections::VecDeque;

/// Maximum number of unacknowledged batches of a stream.
const MAX_BATCHES: usize = 8;
/// Unacknowledged bytes of a stream at which no further batch is sent; a larger batch is sent alone.
const MAX_BYTES: usize = 1 << 20;
/// First and longest wait for an acknowledgement before everything is sent again, in milliseconds; doubled
/// each time.
const PATIENCE_MIN_MS: u64 = 10_000;
const PATIENCE_MAX_MS: u64 = 120_000;

/// Sent and unacknowledged batches of one stream.
#[derive(Debug, Clone)]
pub(super) struct Window {
    in_flight: VecDeque<Sent>,
    bytes: usize,
    patience_ms: u64,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    last: u64,
    bytes: usize,
    at_ms: u64,
}

impl Window {
    pub(super) fn new() -> Self {
        Self {
            in_flight: VecDeque::new(),
            bytes: 0,
            patience_ms: PATIENCE_MIN_MS,
        }
    }

    /// Returns `true` if another batch may be sent.
    pub(super) fn has_room(&self) -> bool {
        self.in_flight.len() < MAX_BATCHES && self.bytes < MAX_BYTES
    }

    /// Adds a batch that ends with number `last`.
    pub(super) fn sent(&mut self, last: u64, bytes: usize, now_ms: u64) {
        self.bytes += bytes;
        self.in_flight.push_back(Sent {
            last,
            bytes,
            at_ms: now_ms,
        });
    }

    /// Removes the batches up to `upto` and restarts the wait for the others.
    pub(super) fn acked(&mut self, upto: u64, now_ms: u64) {
        while let Some(sent) = self.in_flight.front().filter(|sent| sent.last <= upto) {
            self.bytes -= sent.bytes;
            self.in_flight.pop_front();
        }
        self.patience_ms = PATIENCE_MIN_MS;
        if let Some(oldest) = self.in_flight.front_mut() {
            oldest.at_ms = now_ms;
        }
    }

    /// Returns the time at which the acknowledgement of the oldest batch is overdue.
    pub(super) fn deadline_ms(&self) -> Option<u64> {
        self.in_flight
            .front()
            .map(|oldest| oldest.at_ms.saturating_add(self.patience_ms))
    }

    /// Removes all batches, because they are sent again, and doubles the wait.
    pub(super) fn expire(&mut self) {
        self.clear();
        self.patience_ms = (self.patience_ms * 2).min(PATIENCE_MAX_MS);
    }

    /// Removes all batches of a connection that has ended.
    pub(super) fn clear(&mut self) {
        self.in_flight.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_and_bytes_are_bounded() {
        let mut window = Window::new();
        for batch in 1..=MAX_BATCHES as u64 {
            assert!(window.has_room());
            window.sent(batch, 10, 0);
        }
        assert!(!window.has_room());
        window.acked(1, 0);
        assert!(window.has_room());
        window.sent(9, MAX_BYTES, 0);
        window.acked(8, 0);
        assert!(!window.has_room(), "one large batch fills the window");
        window.acked(9, 0);
        assert!(window.has_room());
        assert_eq!(window.deadline_ms(), None);
    }

    #[test]
    fn patience_grows_without_progress_and_is_renewed_by_it() {
        let mut window = Window::new();
        window.sent(5, 1, 100);
        assert_eq!(window.deadline_ms(), Some(100 + PATIENCE_MIN_MS));
        window.expire();
        window.sent(5, 1, 200);
        assert_eq!(window.deadline_ms(), Some(200 + 2 * PATIENCE_MIN_MS));
        window.sent(6, 1, 300);
        window.acked(5, 400);
        assert_eq!(window.deadline_ms(), Some(400 + PATIENCE_MIN_MS));
        for _ in 0..20 {
            window.expire();
        }
        window.sent(6, 1, 0);
        assert_eq!(window.deadline_ms(), Some(PATIENCE_MAX_MS));
    }
}
