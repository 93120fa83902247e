//! Effect of an operator's command on a rollout. Pure; the store writes the result.

use crate::model::{RolloutCommand, RolloutIntent, RolloutProgress, RolloutStatus};

/// Reason for abandoning a rollout that an operator cancelled.
pub const BY_OWNER: &str = "its owner cancelled it";

/// Change of a rollout that is paused, resumed or cancelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steered {
    /// New progress of the rollout.
    pub progress: RolloutProgress,
    /// True if the evidence for which the rollout had halted stays.
    pub keeps_evidence: bool,
    /// True if devices may try again a release that they rolled back, from now on.
    pub forces: bool,
    /// True if failures of devices so far no longer count, and silent devices get a new deadline.
    pub forgives: bool,
    /// Reason for abandoning the rollout; none while it continues.
    pub ended: Option<&'static str>,
}

/// Applies an operator's command to an active rollout; `status` is the one that its group shows. Returns none
/// if the command changes nothing.
#[must_use]
pub fn steer(progress: &RolloutProgress, status: RolloutStatus, command: RolloutCommand) -> Option<Steered> {
    let halted = status == RolloutStatus::Halted;
    let intent = command.intent();
    if progress.intent == intent && !halted {
        return None;
    }
    // Pausing a halted rollout leaves it halted.
    let stays_halted = halted && command == RolloutCommand::Pause;
    Some(Steered {
        progress: RolloutProgress {
            intent,
            halted: stays_halted,
            soaking: progress.soaking,
        },
        keeps_evidence: stays_halted,
        forces: halted && command == RolloutCommand::Resume,
        forgives: command == RolloutCommand::Resume,
        ended: (command == RolloutCommand::Cancel).then_some(BY_OWNER),
    })
}

/// Abandons an active rollout for a reason that its owner can read. Its evidence stays. Returns none if the
/// rollout is being cancelled already.
#[must_use]
pub fn abandon(progress: &RolloutProgress, reason: &'static str) -> Option<Steered> {
    (progress.intent != RolloutIntent::Cancel).then_some(Steered {
        progress: RolloutProgress {
            intent: RolloutIntent::Cancel,
            halted: false,
            soaking: progress.soaking,
        },
        keeps_evidence: true,
        forces: false,
        forgives: false,
        ended: Some(reason),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALTED: RolloutProgress = RolloutProgress {
        intent: RolloutIntent::Run,
        halted: true,
        soaking: Some((2, 7)),
    };
    const RUNNING: RolloutProgress = RolloutProgress {
        halted: false,
        ..HALTED
    };

    #[test]
    fn a_command_that_is_followed_already_changes_nothing() {
        assert_eq!(
            steer(&RUNNING, RolloutStatus::Deploying, RolloutCommand::Resume),
            None
        );
        let paused = RolloutProgress {
            intent: RolloutIntent::Pause,
            ..RUNNING
        };
        assert_eq!(steer(&paused, RolloutStatus::Paused, RolloutCommand::Pause), None);
        let cancelled = RolloutProgress {
            intent: RolloutIntent::Cancel,
            ..RUNNING
        };
        assert_eq!(
            steer(&cancelled, RolloutStatus::Cancelled, RolloutCommand::Cancel),
            None
        );
        assert_eq!(abandon(&cancelled, "later"), None);
    }

    #[test]
    fn a_halted_rollout_stays_halted_when_paused_and_is_forced_when_resumed() {
        let paused = steer(&HALTED, RolloutStatus::Halted, RolloutCommand::Pause).expect("a change");
        assert_eq!(
            (paused.progress.halted, paused.keeps_evidence, paused.forgives),
            (true, true, false)
        );
        let resumed = steer(&HALTED, RolloutStatus::Halted, RolloutCommand::Resume).expect("a change");
        assert_eq!(resumed.progress, RUNNING, "a wave that soaks continues");
        assert!(resumed.forces && resumed.forgives && !resumed.keeps_evidence);
    }

    #[test]
    fn resuming_a_paused_rollout_forgives_and_forces_nothing() {
        let paused = RolloutProgress {
            intent: RolloutIntent::Pause,
            ..RUNNING
        };
        let resumed = steer(&paused, RolloutStatus::Paused, RolloutCommand::Resume).expect("a change");
        assert!(resumed.forgives && !resumed.forces);
        assert_eq!((resumed.progress, resumed.ended), (RUNNING, None));
    }

    #[test]
    fn an_abandoned_rollout_says_why_and_keeps_its_evidence() {
        let abandoned = abandon(&HALTED, "later").expect("a change");
        assert_eq!(
            (
                abandoned.progress.intent,
                abandoned.progress.halted,
                abandoned.ended
            ),
            (RolloutIntent::Cancel, false, Some("later"))
        );
        assert!(abandoned.keeps_evidence);
        let cancelled = steer(&HALTED, RolloutStatus::Halted, RolloutCommand::Cancel).expect("a change");
        assert_eq!(
            (cancelled.ended, cancelled.keeps_evidence),
            (Some(BY_OWNER), false)
        );
    }
}
