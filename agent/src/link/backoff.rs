//! The pause between attempts to connect. Pure.

/// First pause between two attempts to connect, in milliseconds.
const MIN_MS: u64 = 200;
/// Longest pause, in milliseconds.
const MAX_MS: u64 = 30_000;
/// First pause after the cloud had no room for the device, in milliseconds.
const BUSY_MIN_MS: u64 = 30_000;
/// Longest pause after the cloud had no room, in milliseconds.
const BUSY_MAX_MS: u64 = 300_000;
/// Longest wait that the cloud may ask for, in milliseconds.
const MAX_ASKED_MS: u64 = 600_000;

/// Growing pause between attempts to connect, with full jitter.
///
/// Each pause is any time between none and its nominal length, so that a fleet that lost its cloud at one moment comes
/// back spread over all of it.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    attempts: u32,
    refusals: u32,
    random: u64,
}

impl Backoff {
    /// Creates the first pause. `seed` determines the jitter; devices must have different seeds.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            attempts: 0,
            refusals: 0,
            random: seed | 1,
        }
    }

    /// Returns the pause before the next attempt, in milliseconds.
    pub(crate) fn next_ms(&mut self) -> u64 {
        let nominal = grown(MIN_MS, self.attempts, MAX_MS);
        self.attempts = self.attempts.saturating_add(1);
        self.below(nominal)
    }

    /// Returns the pause after the cloud had no room, in milliseconds. It comes on top of the time that the cloud asked
    /// for.
    pub(crate) fn busy_ms(&mut self, asked_ms: Option<u64>) -> u64 {
        let nominal = grown(BUSY_MIN_MS, self.refusals, BUSY_MAX_MS);
        self.refusals = self.refusals.saturating_add(1);
        asked_ms.unwrap_or_default().min(MAX_ASKED_MS) + self.below(nominal)
    }

    /// Resets the pause after a connection that worked.
    pub(super) fn reset(&mut self) {
        (self.attempts, self.refusals) = (0, 0);
    }

    /// Returns a random number up to a limit.
    fn below(&mut self, limit: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % (limit + 1)
    }
}

/// Returns a time that doubles with each attempt, up to a limit.
fn grown(first_ms: u64, attempts: u32, limit_ms: u64) -> u64 {
    first_ms
        .checked_shl(attempts.min(20))
        .unwrap_or(limit_ms)
        .min(limit_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_start_over() {
        let longest = |attempt: u32| {
            let pause = |seed: u64| {
                let mut backoff = Backoff::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                (0..=attempt).map(|_| backoff.next_ms()).last().expect("one")
            };
            (1..64).map(pause).max().expect("some")
        };
        for attempt in 0..40 {
            let nominal = (MIN_MS << attempt.min(20)).min(MAX_MS);
            let longest = longest(attempt);
            assert!(
                (nominal / 2..=nominal).contains(&longest),
                "attempt {attempt}: {longest} of {nominal}"
            );
        }
        let mut backoff = Backoff::new(7);
        for _ in 0..40 {
            backoff.next_ms();
        }
        backoff.reset();
        assert!(backoff.next_ms() <= MIN_MS);
    }

    #[test]
    fn a_device_waits_as_long_as_the_cloud_asks_and_a_random_time_more() {
        let pauses: Vec<u64> = (1..200u64)
            .map(|seed| Backoff::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)).busy_ms(Some(5_000)))
            .collect();
        assert!(pauses.iter().all(|pause| (5_000..=35_000).contains(pause)));
        // Spread over all of it: each third has its share.
        for third in 0..3 {
            let range = 5_000 + third * 10_000_u64..5_000 + (third + 1) * 10_000;
            assert!(pauses.iter().filter(|pause| range.contains(*pause)).count() > 30);
        }
        let mut backoff = Backoff::new(7);
        assert!((0..30).all(|_| backoff.busy_ms(Some(u64::MAX)) <= MAX_ASKED_MS + BUSY_MAX_MS));
    }

    #[test]
    fn devices_do_not_return_in_step() {
        let pauses: std::collections::BTreeSet<u64> = (0..64u64)
            .map(|device| {
                let mut backoff = Backoff::new(device.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                (0..8).map(|_| backoff.next_ms()).last().expect("eight")
            })
            .collect();
        assert!(pauses.len() > 32, "{} different pauses", pauses.len());
    }
}
