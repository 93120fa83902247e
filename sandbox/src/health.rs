//! Consequences of a firmware's own answers about its health. Pure.

/// Number of unhealthy answers in a row after which the firmware is restarted.
const MAX_UNHEALTHY: u32 = 3;

/// Counter of a firmware's answers about its health.
#[derive(Debug, Clone, Copy, Default)]
pub struct Health {
    unhealthy: u32,
}

/// Consequence of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthVerdict {
    /// No change.
    Unchanged,
    /// The firmware became unhealthy, or healthy again: its owner is notified.
    Changed,
    /// The firmware has been unhealthy for too long.
    Restart,
}

impl Health {
    /// Counts one answer.
    pub fn answered(&mut self, healthy: bool) -> HealthVerdict {
        let before = self.unhealthy;
        self.unhealthy = if healthy { 0 } else { before + 1 };
        match (before, self.unhealthy) {
            (0, 0) => HealthVerdict::Unchanged,
            (_, 0) | (0, _) => HealthVerdict::Changed,
            (_, MAX_UNHEALTHY..) => HealthVerdict::Restart,
            _ => HealthVerdict::Unchanged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_bad_answers_in_a_row_are_too_many() {
        let mut health = Health::default();
        let verdicts =
            [true, false, false, true, true, false, false, false].map(|healthy| health.answered(healthy));
        use HealthVerdict::{Changed, Restart, Unchanged};
        assert_eq!(
            verdicts,
            [
                Unchanged, Changed, Unchanged, Changed, Unchanged, Changed, Unchanged, Restart
            ]
        );
    }
}
