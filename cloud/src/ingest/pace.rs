//! How often something may happen: a few times at once, and then once in a while. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// Limits of a [`Pace`].
#[derive(Debug, Clone, Copy)]
pub(super) struct PaceLimits {
    /// Times that are allowed at once.
    pub(super) burst: u32,
    /// Time after which one more is allowed.
    pub(super) every: Duration,
}

/// What one sender has used of its allowance.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    /// The moment at which the whole allowance is there again.
    full: Option<Instant>,
}

impl Pace {
    /// Uses one time up.
    ///
    /// # Errors
    /// The moment from which on one is allowed, when none is now.
    pub(super) fn ask(&mut self, now: Instant, limits: PaceLimits) -> Result<(), Instant> {
        let full = self.full.map_or(now, |full| full.max(now)) + limits.every;
        // Before the first moment that the clock can tell, nothing was used.
        if let Some(earliest) = full
            .checked_sub(limits.every * limits.burst)
            .filter(|earliest| *earliest > now)
        {
            return Err(earliest);
        }
        self.full = Some(full);
        Ok(())
    }

    /// Says whether the whole allowance is there.
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
