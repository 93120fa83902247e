//! The pause between attempts to connect. Pure.

/// First pause between two attempts to connect, in milliseconds.
const MIN_MS: u64 = 200;
/// Longest pause, in milliseconds.
const MAX_MS: u64 = 30_000;

/// Growing, jittered pause between attempts to connect.
///
/// Each pause is between half of its nominal length and all of it, so that a fleet does not reconnect in
/// step.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    attempts: u32,
    random: u64,
}

impl Backoff {
    /// Creates the first pause. `seed` determines the jitter; devices must have different seeds.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            attempts: 0,
            random: seed | 1,
        }
    }

    /// Returns the pause before the next attempt, in milliseconds.
    pub(super) fn next_ms(&mut self) -> u64 {
        let nominal = MIN_MS
            .checked_shl(self.attempts.min(20))
            .unwrap_or(MAX_MS)
            .min(MAX_MS);
        self.attempts = self.attempts.saturating_add(1);
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        nominal / 2 + self.random % (nominal / 2 + 1)
    }

    /// Resets the pause after a connection that worked.
    pub(super) fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_start_over() {
        let mut backoff = Backoff::new(7);
        for attempt in 0..40 {
            let nominal = (MIN_MS << attempt.min(20)).min(MAX_MS);
            let pause = backoff.next_ms();
            assert!(
                (nominal / 2..=nominal).contains(&pause),
                "attempt {attempt}: {pause} of {nominal}"
            );
        }
        backoff.reset();
        assert!(backoff.next_ms() <= MIN_MS);
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
