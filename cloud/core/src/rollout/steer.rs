//! Effect of an operator's command on a rollout. Pure; the store writes the result.

use crate::model::{RolloutStatus, Run, Status, Steer, Wish};

/// Reason for abandoning a rollout that an operator cancelled.
pub const BY_OWNER: &str = "its owner cancelled it";

/// Change of a rollout that is paused, resumed or cancelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steered {
    /// New progress of the rollout.
    pub run: Run,
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
pub fn steer(run: &Run, status: RolloutStatus, command: Steer) -> Option<Steered> {
    let halted = status == RolloutStatus::Of(Status::Halted);
    let wish = command.wish();
    if run.wish == wish && !halted {
        return None;
    }
    // Pausing a halted rollout leaves it halted.
    let stays_halted = halted && command == Steer::Pause;
    Some(Steered {
        run: Run {
            wish,
            halted: stays_halted,
            soaking: run.soaking,
        },
        keeps_evidence: stays_halted,
        forces: halted && command == Steer::Resume,
        forgives: command == Steer::Resume,
        ended: (command == Steer::Cancel).then_some(BY_OWNER),
    })
}

/// Abandons an active rollout for a reason that its owner can read. Its evidence stays. Returns none if the
/// rollout is being cancelled already.
#[must_use]
pub fn abandon(run: &Run, reason: &'static str) -> Option<Steered> {
    (run.wish != Wish::Cancel).then_some(Steered {
        run: Run {
            wish: Wish::Cancel,
            halted: false,
            soaking: run.soaking,
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

    const HALTED: Run = Run {
        wish: Wish::Run,
        halted: true,
        soaking: Some((2, 7)),
    };
    const RUNNING: Run = Run {
        halted: false,
        ..HALTED
    };

    fn of(status: Status) -> RolloutStatus {
        RolloutStatus::Of(status)
    }

    #[test]
    fn a_command_that_is_followed_already_changes_nothing() {
        assert_eq!(steer(&RUNNING, of(Status::Deploying), Steer::Resume), None);
        let paused = Run {
            wish: Wish::Pause,
            ..RUNNING
        };
        assert_eq!(steer(&paused, of(Status::Paused), Steer::Pause), None);
        let cancelled = Run {
            wish: Wish::Cancel,
            ..RUNNING
        };
        assert_eq!(steer(&cancelled, of(Status::Cancelled), Steer::Cancel), None);
        assert_eq!(abandon(&cancelled, "later"), None);
    }

    #[test]
    fn a_halted_rollout_stays_halted_when_paused_and_is_forced_when_resumed() {
        let paused = steer(&HALTED, of(Status::Halted), Steer::Pause).expect("a change");
        assert_eq!(
            (paused.run.halted, paused.keeps_evidence, paused.forgives),
            (true, true, false)
        );
        let resumed = steer(&HALTED, of(Status::Halted), Steer::Resume).expect("a change");
        assert_eq!(resumed.run, RUNNING, "a wave that soaks continues");
        assert!(resumed.forces && resumed.forgives && !resumed.keeps_evidence);
    }

    #[test]
    fn resuming_a_paused_rollout_forgives_and_forces_nothing() {
        let paused = Run {
            wish: Wish::Pause,
            ..RUNNING
        };
        let resumed = steer(&paused, of(Status::Paused), Steer::Resume).expect("a change");
        assert!(resumed.forgives && !resumed.forces);
        assert_eq!((resumed.run, resumed.ended), (RUNNING, None));
    }

    #[test]
    fn an_abandoned_rollout_says_why_and_keeps_its_evidence() {
        let abandoned = abandon(&HALTED, "later").expect("a change");
        assert_eq!(
            (abandoned.run.wish, abandoned.run.halted, abandoned.ended),
            (Wish::Cancel, false, Some("later"))
        );
        assert!(abandoned.keeps_evidence);
        let cancelled = steer(&HALTED, of(Status::Halted), Steer::Cancel).expect("a change");
        assert_eq!(
            (cancelled.ended, cancelled.keeps_evidence),
            (Some(BY_OWNER), false)
        );
    }
}
