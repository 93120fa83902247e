//! The clock by which durations of rollouts are measured.
//!
//! The wall clock may be set, by hours and in either direction, while devices are on trial. The steady clock only goes forward,
//! at the pace of the machine's monotonic clock; the database keeps how far it has come, so that it goes on after a restart.
//! Time in which no cloud ran does not count: no device could say anything then.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Instant;

use crate::model::UnixMs;

/// How far the steady clock was at a moment of the monotonic clock.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at: u64,
    seen: Instant,
}

/// The steady clock of a process.
#[derive(Debug)]
pub struct SteadyClock(Mutex<Mark>);

impl SteadyClock {
    /// Begins at `at`, milliseconds.
    #[must_use]
    pub fn starting_at(at: u64) -> Self {
        Self(Mutex::new(Mark { at, seen: Instant::now() }))
    }

    /// Where a clock begins that the database has kept; one that was never started begins at the date.
    #[must_use]
    pub fn first(kept: Option<u64>, date: UnixMs) -> u64 {
        kept.unwrap_or_else(|| u64::try_from(date).unwrap_or(0))
    }

    /// The time, milliseconds.
    #[must_use]
    pub fn now(&self) -> u64 {
        let mark = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        mark.at.saturating_add(u64::try_from(mark.seen.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Goes on from `at` if that is ahead: another process has come further.
    pub fn catch_up(&self, at: u64) {
        if at > self.now() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Mark { at, seen: Instant::now() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_from_where_it_was_kept_and_never_back() {
        assert_eq!((SteadyClock::first(Some(7), 9), SteadyClock::first(None, 9), SteadyClock::first(None, -9)), (7, 9, 0));
        let clock = SteadyClock::starting_at(1_000);
        let first = clock.now();
        assert!(first >= 1_000);
        clock.catch_up(500);
        assert!(clock.now() >= first, "never back");
        clock.catch_up(1_000_000);
        assert!(clock.now() >= 1_000_000);
    }
}
