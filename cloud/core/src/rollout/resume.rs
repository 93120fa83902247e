//! Consequence of resuming a rollout, before it is resumed. Pure.

use super::{Step, decide, steer};
use crate::model::{Rollout, RolloutCommand, RolloutMember};

/// Returns the number of devices that get the release next if a rollout is resumed now; `size` is that of the release in
/// bytes, `now` is in seconds of the steady clock.
#[must_use]
pub fn next_if_resumed(rollout: &Rollout, mut members: Vec<RolloutMember>, size: u64, now: u64) -> usize {
    let Some(steered) = steer(&rollout.progress, rollout.status, RolloutCommand::Resume) else {
        return 0;
    };
    if steered.forgives {
        for directive in members.iter_mut().filter_map(|member| member.directive.as_mut()) {
            (directive.failures, directive.heard) = (0, None);
        }
    }
    let resumed = Rollout {
        progress: steered.progress,
        ..rollout.clone()
    };
    let steps = decide(&resumed, &members, size, now).plan.steps;
    steps
        .iter()
        .filter(|step| matches!(step, Step::Install(_)))
        .count()
}
