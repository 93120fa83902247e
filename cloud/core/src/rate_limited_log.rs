//! Limits log lines that outside parties can cause without bound: one line per interval, with the number of
//! lines left out.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Minimum time between two lines of a kind.
const EVERY: Duration = Duration::from_secs(10);
/// Minimum time between two lines of a kind that says again and again what people have to change.
const MINUTE: Duration = Duration::from_secs(60);

/// Rate limit of one kind of line; a static next to the code that writes the line.
#[derive(Debug)]
pub struct RateLimitedLog {
    state: Mutex<(Option<Instant>, u64)>,
    every: Duration,
}

impl Default for RateLimitedLog {
    fn default() -> Self {
        Self::new()
    }
}

impl RateLimitedLog {
    /// Creates a limit whose first line may be written at once.
    pub const fn new() -> Self {
        Self::of(EVERY)
    }

    /// Creates a limit of one line a minute, whose first line may be written at once.
    pub const fn of_a_minute() -> Self {
        Self::of(MINUTE)
    }

    const fn of(every: Duration) -> Self {
        Self {
            state: Mutex::new((None, 0)),
            every,
        }
    }

    /// Returns the number of lines left out since the last one, if a line may be written now.
    pub fn ask(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state
            .0
            .is_some_and(|last| now.saturating_duration_since(last) < self.every)
        {
            state.1 += 1;
            return None;
        }
        state.0 = Some(now);
        Some(std::mem::take(&mut state.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any moment serves as the start")]
    fn a_flood_of_lines_is_one_line_and_a_count() {
        let (pace, start) = (RateLimitedLog::new(), Instant::now());
        assert_eq!(pace.ask(start), Some(0));
        assert!((0..1000).all(|_| pace.ask(start).is_none()));
        assert_eq!(pace.ask(start + EVERY), Some(1000));
        assert_eq!(pace.ask(start + EVERY * 2), Some(0));
    }
}
