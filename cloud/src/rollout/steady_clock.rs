//! The steady clock, which measures durations of rollouts.
//!
//! The wall clock may be set, by hours and in either direction, while devices are on trial. The steady clock
//! only advances, at the rate of the machine's monotonic clock; its time is stored in the database, so that
//! it continues after a restart. Time in which no cloud ran, or its machine was suspended, is not counted: no
//! device could report then.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use iottly_core::model::UnixMs;

/// Maximum time between two readings of the clock that is counted: a minute. A longer time means that the
/// machine was suspended in between.
const LONGEST_STEP: Duration = Duration::from_secs(60);

/// Time of the steady clock at an instant of the monotonic clock.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Duration,
    seen: Instant,
}

impl Mark {
    fn at(ms: u64, seen: Instant) -> Self {
        Self {
            at: Duration::from_millis(ms),
            seen,
        }
    }

    /// Advances to an instant of the monotonic clock.
    fn advance(&mut self, seen: Instant) -> u64 {
        self.at = self
            .at
            .saturating_add(seen.saturating_duration_since(self.seen).min(LONGEST_STEP));
        self.seen = seen;
        u64::try_from(self.at.as_millis()).unwrap_or(u64::MAX)
    }
}

/// Steady clock of a process; read every second while rollouts are active.
#[derive(Debug)]
pub struct SteadyClock(Mutex<Mark>);

impl SteadyClock {
    /// Creates a clock that starts at `at`, in milliseconds.
    #[must_use]
    pub fn starting_at(at: u64) -> Self {
        Self(Mutex::new(Mark::at(at, Instant::now())))
    }

    /// Returns the time to start at: the one stored in the database, or the current date before the first
    /// start.
    #[must_use]
    pub fn first(kept: Option<u64>, date: UnixMs) -> u64 {
        kept.unwrap_or_else(|| u64::try_from(date).unwrap_or(0))
    }

    /// Returns the time in milliseconds.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .advance(Instant::now())
    }

    /// Advances to `at` if that is later: another process is ahead.
    pub fn catch_up(&self, at: u64) {
        if at > self.now() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Mark::at(at, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_from_where_it_was_kept_and_never_back() {
        assert_eq!(
            (
                SteadyClock::first(Some(7), 9),
                SteadyClock::first(None, 9),
                SteadyClock::first(None, -9)
            ),
            (7, 9, 0)
        );
        let clock = SteadyClock::starting_at(1_000);
        let first = clock.now();
        assert!(first >= 1_000);
        clock.catch_up(500);
        assert!(clock.now() >= first, "never back");
        clock.catch_up(1_000_000);
        assert!(clock.now() >= 1_000_000);
    }

    #[test]
    fn a_machine_that_stood_still_or_whose_clock_jumped_counts_for_a_minute() {
        let began = Instant::now();
        let mut mark = Mark::at(5_000, began);
        assert_eq!(mark.advance(began + Duration::from_millis(1_500)), 6_500);
        assert_eq!(
            mark.advance(began + Duration::from_secs(3 * 3_600)),
            66_500,
            "three hours at once"
        );
        assert_eq!(mark.advance(began), 66_500, "never back");
        assert_eq!(
            mark.advance(began + Duration::from_secs(2)),
            68_500,
            "and on from there"
        );
    }
}
