//! The limit on a firmware's host calls per second. Since it runs at every call, it reads the clock once in a
//! full second's worth.

use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct CallRate {
    per_s: u32,
    left: u32,
    since: Instant,
}

impl CallRate {
    pub(crate) fn new(per_s: u32) -> Self {
        Self {
            per_s,
            left: per_s,
            since: Instant::now(),
        }
    }

    /// Counts one call; returns false if a second's worth of calls took less than a second.
    #[inline]
    pub(crate) fn take(&mut self) -> bool {
        if self.left > 0 {
            self.left -= 1;
            return true;
        }
        self.refill(Instant::now())
    }

    /// Moves the clock forward.
    pub(crate) fn advance(&mut self, time: Duration) {
        self.since = self.since.checked_sub(time).unwrap_or(self.since);
    }

    fn refill(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) < WINDOW {
            return false;
        }
        self.since = now;
        self.left = self.per_s.saturating_sub(1);
        self.per_s > 0
    }

    pub(crate) fn refusal(&self) -> String {
        format!("more than {} host calls a second", self.per_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seconds_worth_and_then_the_next_second() {
        let mut rate = CallRate::new(3);
        assert_eq!((0..3).map(|_| rate.take()).collect::<Vec<_>>(), [true; 3]);
        let since = rate.since;
        assert!(!rate.refill(since + WINDOW - Duration::from_millis(1)));
        assert!(rate.refill(since + WINDOW));
        assert_eq!(rate.left, 2);
    }
}
