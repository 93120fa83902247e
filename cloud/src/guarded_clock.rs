//! Clock for decisions that must not be affected by steps of the system's clock.
//!
//! An operator, NTP or a virtual machine may set the system's clock by hours or years in either direction
//! while the cloud runs. Three kinds of time, each for its purpose:
//!
//! - [`GuardedClock::deadline`], for durations: the time of the start plus the time counted by a monotonic clock
//!   since. Steps do not affect it at all.
//! - [`GuardedClock::received`], for the order of receipt: never goes back while the cloud runs, and follows the
//!   system's clock otherwise. See `Receipts` for steps that are too large to be believed at once.
//! - [`GuardedClock::wall`], for dates shown to others.
//!
//! A step while the cloud does not run cannot be distinguished from the time that it did not run: then the
//! system's clock is believed.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Clock;
use iottly_core::model::UnixMs;

/// Largest step of the clock, in milliseconds, that is believed at once: a day. After smaller steps back the
/// time of receipt stays the same until the clock has caught up.
const BELIEVED_MS: UnixMs = 24 * 60 * 60 * 1000;
/// Time that a larger step must last before it is believed.
const DOUBTED: Duration = Duration::from_secs(60 * 60);

/// Clock that provides the three kinds of time.
pub struct GuardedClock {
    clock: Clock,
    started: Instant,
    start: UnixMs,
    receipts: Mutex<Receipts>,
}

impl GuardedClock {
    /// Creates the clock; deadlines count from now.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let (started, start) = (Instant::now(), clock());
        Self {
            clock,
            started,
            start,
            receipts: Mutex::new(Receipts::new(start)),
        }
    }

    /// Returns the date: the system's clock, unless it has just stepped too far to be believed.
    #[must_use]
    pub fn wall(&self) -> UnixMs {
        let (wall, received) = ((self.clock)(), self.received());
        if wall.saturating_sub(received).saturating_abs() < BELIEVED_MS {
            wall
        } else {
            received
        }
    }

    /// Returns the time for setting and checking deadlines; steps of the clock do not affect it.
    #[must_use]
    pub fn deadline(&self) -> UnixMs {
        self.start.saturating_add(millis(self.started.elapsed()))
    }

    /// Returns the time of something received now: not before anything received earlier.
    #[must_use]
    pub fn received(&self) -> UnixMs {
        let mut receipts = self.receipts.lock().unwrap_or_else(PoisonError::into_inner);
        receipts.record((self.clock)(), self.started.elapsed())
    }
}

/// Times of receipt. Pure.
///
/// Follow the system's clock forwards and stay the same while it is behind, as long as it is off by less than
/// a day. A larger step is considered an accident: receipts then continue by the monotonic clock for an hour.
/// If the clock is unchanged by then, the step is considered intended, and receipts follow it. Only such a
/// step back breaks the order of entries, between those from before and after it.
#[derive(Debug)]
struct Receipts {
    last: UnixMs,
    /// Monotonic time of `last`.
    at: Duration,
    /// Monotonic time since which the system's clock differs.
    doubted: Option<Duration>,
}

impl Receipts {
    fn new(start: UnixMs) -> Self {
        Self {
            last: start,
            at: Duration::ZERO,
            doubted: None,
        }
    }

    fn record(&mut self, wall: UnixMs, elapsed: Duration) -> UnixMs {
        let expected = self.last.saturating_add(millis(elapsed.saturating_sub(self.at)));
        let is_near = wall.saturating_sub(expected).saturating_abs() < BELIEVED_MS;
        let is_meant = self
            .doubted
            .is_some_and(|since| elapsed.saturating_sub(since) >= DOUBTED);
        let next = if is_near {
            // While the clock is behind, the last time is returned again.
            self.last.max(wall)
        } else if is_meant {
            tracing::warn!(
                clock.wall_ms = wall,
                clock.expected_ms = expected,
                "the clock was set by more than a day an hour ago; times of receipt follow it now"
            );
            wall
        } else {
            expected
        };
        if is_near || is_meant {
            self.doubted = None;
        } else if self.doubted.is_none() {
            tracing::warn!(
                clock.wall_ms = wall,
                clock.expected_ms = expected,
                "the clock was set by more than a day; times of receipt ignore it for an hour"
            );
            self.doubted = Some(elapsed);
        }
        (self.last, self.at) = (next, elapsed);
        next
    }
}

fn millis(elapsed: Duration) -> UnixMs {
    UnixMs::try_from(elapsed.as_millis()).unwrap_or(UnixMs::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    const START: UnixMs = 1_790_000_000_000;
    const HOUR: UnixMs = 60 * 60 * 1000;
    const YEARS: UnixMs = 10 * 365 * 24 * HOUR;

    /// Returns times received once per second, with the clock off by `step` from the tenth to the hundredth
    /// second.
    fn excursion(step: UnixMs) -> Vec<UnixMs> {
        let mut receipts = Receipts::new(START);
        let wall =
            |second: UnixMs| START + second * 1000 + if (10..100).contains(&second) { step } else { 0 };
        (0..200)
            .map(|second| receipts.record(wall(second), Duration::from_secs(second as u64)))
            .collect()
    }

    #[test]
    fn the_order_of_receipt_stands_whatever_the_clock_does() {
        for step in [
            0,
            1,
            -1,
            1500,
            -1500,
            3 * HOUR,
            -3 * HOUR,
            YEARS,
            -YEARS,
            UnixMs::MAX / 2,
            UnixMs::MIN / 2,
        ] {
            let last = excursion(step);
            assert!(last.is_sorted(), "{step}: {last:?}");
        }
        for step in [YEARS, -YEARS, -3 * HOUR] {
            let last = excursion(step);
            assert!(
                (last[199] - (START + 199_000)).abs() <= 1000,
                "{step}: an accident leaves no trace in the dates"
            );
        }
    }

    #[test]
    fn a_step_that_stays_is_believed_in_the_end() {
        for step in [YEARS, -YEARS] {
            let mut receipts = Receipts::new(START);
            let mut record = |second: UnixMs| {
                receipts.record(START + second * 1000 + step, Duration::from_secs(second as u64))
            };
            assert_eq!(record(10), START + 10_000);
            assert_eq!(record(3_000), START + 3_000_000);
            assert_eq!(record(3_610), START + 3_610_000 + step);
            assert_eq!(record(3_611), START + 3_611_000 + step);
        }
    }

    #[test]
    fn a_correction_by_hours_is_followed_forwards_and_waited_for_backwards() {
        let mut receipts = Receipts::new(START);
        assert_eq!(
            receipts.record(START + 3 * HOUR, Duration::from_secs(1)),
            START + 3 * HOUR
        );
        let mut receipts = Receipts::new(START);
        assert_eq!(receipts.record(START - 3 * HOUR, Duration::from_secs(1)), START);
        assert_eq!(
            receipts.record(START - HOUR, Duration::from_secs(2 * 3600)),
            START
        );
        assert_eq!(
            receipts.record(START + 5, Duration::from_secs(3 * 3600)),
            START + 5
        );
    }

    #[test]
    fn deadlines_do_not_see_steps() {
        let wall = Arc::new(AtomicI64::new(START));
        let clock = Arc::clone(&wall);
        let steady = GuardedClock::new(Arc::new(move || clock.load(Ordering::Relaxed)));
        for step in [3 * HOUR, -3 * HOUR, YEARS, -YEARS] {
            wall.store(START + step, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(5));
            assert!((START..START + HOUR).contains(&steady.deadline()), "{step}");
        }
    }
}
