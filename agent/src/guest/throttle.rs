/// Least time between two messages, milliseconds.
const INTERVAL_MS: u64 = 10_000;

/// Lets one message through every ten seconds and counts the others.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    open_at_ms: u64,
    suppressed: u64,
}

impl Throttle {
    /// Says whether a message may pass, and how many did not since the last that could.
    pub(super) fn pass(&mut self, now_ms: u64) -> Option<u64> {
        if now_ms < self.open_at_ms {
            self.suppressed += 1;
            return None;
        }
        self.open_at_ms = now_ms.saturating_add(INTERVAL_MS);
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_back_is_counted() {
        let mut throttle = Throttle::default();
        assert_eq!(throttle.pass(0), Some(0));
        assert_eq!(throttle.pass(1), None);
        assert_eq!(throttle.pass(INTERVAL_MS - 1), None);
        assert_eq!(throttle.pass(INTERVAL_MS), Some(2));
        assert_eq!(throttle.pass(2 * INTERVAL_MS), Some(0));
    }
}
