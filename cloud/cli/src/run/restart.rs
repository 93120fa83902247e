use std::time::Duration;

/// First and longest pause before a restart.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);
/// Time in service after which earlier failures are forgotten.
const HEALTHY: Duration = Duration::from_secs(60);

/// How long to wait before a firmware that failed is started again.
///
/// A device waits longer and gives up in the end; here the author sits in front of it.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    failures: u32,
}

impl Pauses {
    /// The firmware failed after serving for `served`.
    pub(super) fn failed(&mut self, served: Duration) -> Duration {
        if served >= HEALTHY {
            self.failures = 0;
        }
        self.failures += 1;
        FIRST.saturating_mul(1 << (self.failures - 1).min(8)).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_forgiven() {
        let mut pauses = Pauses::default();
        let seconds: Vec<_> = (0..7).map(|_| pauses.failed(Duration::ZERO).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(pauses.failed(HEALTHY), FIRST);
    }
}
