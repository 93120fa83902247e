//! Rate limits: a burst at once, then one event per interval. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// Limits of a [`Pace`].
#[derive(Debug, Clone, Copy)]
pub(super) struct PaceLimits {
    /// Number of events allowed at once.
    pub(super) burst: u32,
    /// Interval after which one more event is allowed.
    pub(super) every: Duration,
}

/// Used part of one sender's allowance.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    /// Time at which the whole allowance is available again.
    full: Option<Instant>,
}

impl Pace {
    /// Uses the allowance for one event.
    ///
    /// # Errors
    /// The time from which the next event is allowed, if none is now.
    pub(super) fn ask(&mut self, now: Instant, limits: PaceLimits) -> Result<(), Instant> {
        let full = self.full.map_or(now, |full| full.max(now)) + limits.every;
        // Before the clock's earliest time the allowance was unused.
        if let Some(earliest) = full
            .checked_sub(limits.every * limits.burst)
            .filter(|earliest| *earliest > now)
        {
            return Err(earliest);
        }
        self.full = Some(full);
        Ok(())
    }

    /// Returns true if the whole allowance is available.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        self.full.is_none_or(|full| full <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_in_a_while() {
        let limits = PaceLimits {
            burst: 3,
            every: Duration::from_secs(1),
        };
        let (start, mut pace) = (Instant::now(), Pace::default());
        let at = |millis| start + Duration::from_millis(millis);
        for _ in 0..3 {
            assert_eq!(pace.ask(start, limits), Ok(()));
        }
        assert_eq!(pace.ask(start, limits), Err(at(1000)));
        assert_eq!(
            pace.ask(at(999), limits),
            Err(at(1000)),
            "a refusal uses nothing up"
        );
        assert_eq!(pace.ask(at(1000), limits), Ok(()));
        assert_eq!(pace.ask(at(1500), limits), Err(at(2000)));
        assert!(!pace.is_fresh(at(3999)) && pace.is_fresh(at(4000)));
        assert_eq!(pace.ask(at(60_000), limits), Ok(()));
    }
}
