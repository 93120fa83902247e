use std::time::Duration;

/// Answers in a row that something is wrong after which the firmware is started again.
const MAX_UNHEALTHY: u32 = 3;

/// What the firmware's own answers about its health lead to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Health {
    unhealthy: u32,
}

/// The consequence of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is as it was.
    Unchanged,
    /// It became unhealthy, or healthy again: its owner is told.
    Changed,
    /// It has been unhealthy for too long.
    Restart,
}

impl Health {
    /// Time between two questions.
    pub(super) const EVERY: Duration = Duration::from_secs(30);

    /// The firmware has answered.
    pub(super) fn answered(&mut self, healthy: bool) -> Verdict {
        let before = self.unhealthy;
        self.unhealthy = if healthy { 0 } else { before + 1 };
        match (before, self.unhealthy) {
            (0, 0) => Verdict::Unchanged,
            (_, 0) | (0, _) => Verdict::Changed,
            (_, MAX_UNHEALTHY..) => Verdict::Restart,
            _ => Verdict::Unchanged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_bad_answers_in_a_row_are_too_many() {
        let mut health = Health::default();
        let verdicts = [true, false, false, true, true, false, false, false].map(|healthy| health.answered(healthy));
        use Verdict::{Changed, Restart, Unchanged};
        assert_eq!(verdicts, [Unchanged, Changed, Unchanged, Changed, Unchanged, Changed, Unchanged, Restart]);
    }
}
