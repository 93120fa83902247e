//! A rate limit: so many per second, with bursts of one second's worth. Reads no clock.

use std::time::Duration;

/// Tokens that refill with time. The time is an argument, measured from any fixed moment.
#[derive(Debug)]
pub(crate) struct Quota {
    per_s: u32,
    micro_tokens: u64,
    at: Duration,
    refused: u64,
}

const MICRO: u64 = 1_000_000;

impl Quota {
    pub(crate) fn new(per_s: u32) -> Self {
        Self {
            per_s,
            micro_tokens: u64::from(per_s) * MICRO,
            at: Duration::ZERO,
            refused: 0,
        }
    }

    /// Takes one token. Returns how many were refused since the last one, or none if there is no token left.
    pub(crate) fn take(&mut self, now: Duration) -> Option<u64> {
        self.take_many(now, 1)
    }

    /// Takes so many tokens or none.
    pub(crate) fn take_many(&mut self, now: Duration, count: u32) -> Option<u64> {
        let elapsed = now.saturating_sub(self.at).min(Duration::from_secs(1));
        self.at = self.at.max(now);
        let refill = u64::try_from(elapsed.as_micros()).expect("at most a second") * u64::from(self.per_s);
        self.micro_tokens = (self.micro_tokens + refill).min(u64::from(self.per_s) * MICRO);
        let wanted = u64::from(count) * MICRO;
        if self.micro_tokens < wanted {
            self.refused += 1;
            return None;
        }
        self.micro_tokens -= wanted;
        Some(std::mem::take(&mut self.refused))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_one_second_then_the_rate() {
        let mut quota = Quota::new(2);
        let at = Duration::from_millis;
        assert_eq!(
            [quota.take(at(0)), quota.take(at(0)), quota.take(at(0))],
            [Some(0), Some(0), None]
        );
        assert_eq!(quota.take(at(499)), None);
        assert_eq!(
            quota.take(at(500)),
            Some(2),
            "half a second refills one token and reports what was refused"
        );
        assert_eq!(quota.take(at(501)), None);
    }

    #[test]
    fn a_long_pause_gives_no_more_than_one_burst() {
        let mut quota = Quota::new(3);
        let late = Duration::from_secs(3600);
        assert_eq!((0..10).filter(|_| quota.take(late).is_some()).count(), 3);
    }

    #[test]
    fn a_clock_that_steps_back_gives_nothing() {
        let mut quota = Quota::new(1);
        assert_eq!(quota.take(Duration::from_secs(10)), Some(0));
        assert_eq!(quota.take(Duration::from_secs(5)), None);
        assert_eq!(quota.take(Duration::from_secs(10)), None);
    }
}
