//! Count of what the calls of a firmware have used. Reads no clock.

use std::time::Duration;

/// Resources that a firmware has used since they were asked for last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Number of calls.
    pub calls: u64,
    /// Processor time of the longest call.
    pub longest: Duration,
    /// Largest part of its budget of processor time that a call has used, in thousandths.
    pub budget_permille: u64,
    /// Size of all linear memories together now, in bytes.
    pub memory_bytes: usize,
    /// Size that they may have, in bytes.
    pub memory_limit_bytes: usize,
}

impl Usage {
    /// Adds a call that has used `used` of `budget`.
    pub(crate) fn called(&mut self, used: Duration, budget: Duration) {
        self.calls = self.calls.saturating_add(1);
        self.longest = self.longest.max(used);
        let budget = budget.as_micros().max(1);
        let permille = used.as_micros().saturating_mul(1000) / budget;
        self.budget_permille = self
            .budget_permille
            .max(u64::try_from(permille).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_call_need_not_be_the_one_nearest_its_end() {
        let mut usage = Usage::default();
        usage.called(Duration::from_millis(500), Duration::from_secs(2));
        usage.called(Duration::from_millis(90), Duration::from_millis(100));
        usage.called(Duration::ZERO, Duration::ZERO);
        assert_eq!(
            usage,
            Usage {
                calls: 3,
                longest: Duration::from_millis(500),
                budget_permille: 900,
                ..Usage::default()
            }
        );
    }
}
