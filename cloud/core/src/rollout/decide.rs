//! The decision on a rollout, from its rows and the steady clock. Pure.

use iottly_protocol::release::{Ending, Reason, Step as UpdateStep, UpdateState};

use super::{DeviceProgress, Member, Plan, plan, rank};
use crate::model::{DirectiveStatus, Policy, Rollout, RolloutKind, RolloutMember, RolloutStatus, UnixMs};

/// Multiple of its grace period that a trial may take; devices apply the same limit.
const LATE_ANSWERS: u64 = 4;
/// Multiple of the minimum time under the rate limit that a download may take.
const SLOW_LINE: u64 = 2;
/// Pause before a device that refused a directive because of its dates is notified again, in seconds;
/// increases with each time.
const DATES_PAUSE_S: u64 = 60;
/// Number of refusals because of its dates after which a directive has failed.
const DATES_TRIES: u64 = 12;

/// Number of seconds of a day.
const DAY_S: u64 = 86_400;

/// Number of states after which an update counts as failed: the stored list of states is bounded.
const MAX_STATES: usize = 64;

/// Converts Unix milliseconds to Unix seconds.
pub fn seconds(at: UnixMs) -> u64 {
    u64::try_from(at / 1000).unwrap_or(0)
}

/// Decision about a rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Plan of the next steps.
    pub plan: Plan,
    /// Resulting status.
    pub status: RolloutStatus,
    /// True while the executor may still have something to do.
    pub active: bool,
    /// Reason for abandoning the rollout, if that is decided now.
    pub ended: Option<&'static str>,
}

/// Returns the time by which a device in its state may exceed the policy's silence, in seconds.
fn beyond_silence(policy: &Policy, directive: &DirectiveStatus, size: u64) -> u64 {
    match directive.state {
        // A window opens once a day; then the device reports.
        Some(UpdateState::Underway(UpdateStep::Deferred)) => DAY_S,
        Some(UpdateState::Underway(UpdateStep::Downloading)) => size
            .checked_div(policy.max_bps)
            .unwrap_or(0)
            .saturating_mul(SLOW_LINE),
        Some(UpdateState::Underway(
            UpdateStep::Switching | UpdateStep::Trial | UpdateStep::Committing | UpdateStep::RollingBack,
        )) => policy.grace_ms.saturating_mul(LATE_ANSWERS) / 1000,
        _ => 0,
    }
}

/// Returns true if a device refused a directive because of its dates: the device's or the cloud's clock was
/// wrong, and the release is not at fault.
fn refused_dates(directive: &DirectiveStatus) -> bool {
    directive.state == Some(UpdateState::Ended(Ending::Rejected))
        && matches!(directive.reason, Some(Reason::Expired | Reason::Clock))
}

/// Derives a device's state in the rollout from its directive and its reports; `now` is of the steady clock.
fn progress(member: &RolloutMember, policy: &Policy, size: u64, now: u64) -> DeviceProgress {
    let Some(directive) = &member.directive else {
        return DeviceProgress::Pending;
    };
    let heard = directive.heard.map_or(now, |at| at / 1000);
    match directive.state {
        Some(UpdateState::Ended(Ending::Committed)) => DeviceProgress::Committed,
        Some(_) if refused_dates(directive) => {
            let tries = directive
                .steps
                .iter()
                .filter(|(state, _)| *state == UpdateState::Ended(Ending::Rejected))
                .count()
                .max(1) as u64;
            if tries >= DATES_TRIES || directive.steps.len() > MAX_STATES {
                return DeviceProgress::Failed {
                    reason: Reason::Expired,
                    times: u32::MAX,
                };
            }
            if now.saturating_sub(heard) >= DATES_PAUSE_S * tries {
                return DeviceProgress::Pending;
            }
            DeviceProgress::UnderWay {
                since: heard.saturating_add(DATES_PAUSE_S * tries),
                cancellable: false,
                failures: directive.failures,
            }
        }
        Some(state) if state.is_ending() => DeviceProgress::Failed {
            reason: directive.reason.unwrap_or(Reason::Timeout),
            times: directive.failures,
        },
        state => {
            // If a later rollout has sent the device another directive, withdrawing that is not up to this
            // rollout.
            let ours = directive.counter >= member.counter && !directive.withdrawn;
            let cancellable = ours && state.is_none_or(UpdateState::is_cancellable);
            let since = heard.saturating_add(beyond_silence(policy, directive, size));
            DeviceProgress::UnderWay {
                since,
                cancellable,
                failures: directive.failures,
            }
        }
    }
}

/// Returns true if a device has left the rollout: it is in another group now, whose rollout has sent it
/// another directive.
fn has_left(member: &RolloutMember) -> bool {
    let Some(directive) = &member.directive else {
        return false;
    };
    !member.in_group
        && directive.counter < member.counter
        && directive.state != Some(UpdateState::Ended(Ending::Committed))
}

/// Decides on a rollout; `now` is in seconds of the steady clock, `size` is that of the release in bytes.
/// Pure: every process that reads the same rows decides the same.
#[must_use]
pub fn decide(rollout: &Rollout, members: &[RolloutMember], size: u64, now: u64) -> Decision {
    let name = rollout.id.to_string();
    let mut sorted: Vec<Member> = members
        .iter()
        .filter(|member| !has_left(member))
        .map(|member| Member {
            device: member.device,
            rank: rank(&name, member.device),
            online: member.online,
            progress: progress(member, &rollout.policy, size, now),
        })
        .collect();
    sorted.sort_by_key(|member| member.rank);
    let mut plan = plan(&rollout.policy, &sorted, &rollout.progress, now);
    let mut ended = None;
    if sorted.is_empty() && rollout.devices > 0 && plan.status == RolloutStatus::Deployed {
        plan.status = RolloutStatus::Cancelled;
        ended = Some("no device is left of this rollout");
    }
    let status = match (plan.status, rollout.kind) {
        (RolloutStatus::Deployed, RolloutKind::Rollback) => RolloutStatus::RolledBack,
        (status, _) => status,
    };
    let active = match status {
        RolloutStatus::Deployed | RolloutStatus::RolledBack => false,
        RolloutStatus::Cancelled => !plan.steps.is_empty(),
        RolloutStatus::Deploying | RolloutStatus::Paused | RolloutStatus::Halted => true,
    };
    Decision {
        plan,
        status,
        active,
        ended,
    }
}

#[cfg(test)]
mod tests {
    use iottly_protocol::{DeviceId, GroupId};

    use super::*;
    use crate::model::RolloutId;
    use crate::model::{RolloutIntent, RolloutProgress};
    use crate::rollout::{Step, next_if_resumed};

    fn rollout(kind: RolloutKind, intent: RolloutIntent) -> Rollout {
        Rollout {
            id: RolloutId::from_bytes([7; 16]),
            group: GroupId::from_bytes([1; 16]),
            release: 3,
            kind,
            policy: Policy::default(),
            approved: Vec::new(),
            force: false,
            progress: RolloutProgress {
                intent,
                halted: false,
                soaking: None,
            },
            status: RolloutStatus::Deploying,
            evidence: None,
            active: true,
            devices: 3,
            ended: None,
            version: 1,
            author: "me".into(),
            created: 0,
            changed: 0,
        }
    }

    fn member(n: u8, state: Option<UpdateState>) -> RolloutMember {
        let directive = DirectiveStatus {
            id: "d-5".into(),
            counter: 5,
            sent: 1000,
            withdrawn: false,
            state,
            reason: None,
            detail: None,
            failures: 0,
            changed: 1000,
            heard: Some(1_000_000),
            faults: 0,
            fault: None,
            steps: Vec::new(),
        };
        let device = DeviceId::from_bytes([n; 16]);
        RolloutMember {
            device,
            name: String::new(),
            online: true,
            in_group: true,
            counter: 5,
            directive: Some(directive),
        }
    }

    /// Returns status, activity and plan at `now`, in seconds of the steady clock.
    fn look(rollout: &Rollout, members: &[RolloutMember], now: u64) -> (&'static str, bool, Plan) {
        let decision = decide(rollout, members, 0, now);
        (decision.status.as_str(), decision.active, decision.plan)
    }

    #[test]
    fn all_committed_is_deployed_or_rolled_back_by_what_it_was_for() {
        let members = [
            member(1, Some(UpdateState::Ended(Ending::Committed))),
            member(2, Some(UpdateState::Ended(Ending::Committed))),
        ];
        let (status, active, _) = look(&rollout(RolloutKind::Install, RolloutIntent::Run), &members, 2000);
        assert_eq!((status, active), ("deployed", false));
        let (status, active, _) = look(
            &rollout(RolloutKind::Rollback, RolloutIntent::Run),
            &members,
            2000,
        );
        assert_eq!((status, active), ("rolled_back", false));
    }

    #[test]
    fn a_cancelled_rollout_withdraws_once_and_only_what_is_its_own() {
        let cancelled = rollout(RolloutKind::Install, RolloutIntent::Cancel);
        let mut members = [
            member(1, Some(UpdateState::Underway(UpdateStep::Downloading))),
            member(2, Some(UpdateState::Underway(UpdateStep::Trial))),
            member(3, None),
        ];
        // A newer rollout has sent the third device another directive.
        members[2].counter = 6;
        let (_, active, planned) = look(&cancelled, &members, 2000);
        assert_eq!(
            (planned.steps, active),
            (vec![Step::Cancel(members[0].device)], true)
        );
        members[0].directive.as_mut().expect("was sent one").withdrawn = true;
        let (status, active, planned) = look(&cancelled, &members, 2000);
        assert_eq!((planned.steps, status, active), (vec![], "cancelled", false));
    }

    #[test]
    fn what_failed_and_was_forgiven_is_told_again() {
        let mut failed = member(1, Some(UpdateState::Ended(Ending::RolledBack)));
        failed.directive.as_mut().expect("was sent one").failures = 1;
        let (status, active, planned) = look(
            &rollout(RolloutKind::Install, RolloutIntent::Run),
            &[failed.clone()],
            2000,
        );
        assert_eq!((planned.steps.len(), status, active), (0, "halted", true));
        let halted = Rollout {
            status: RolloutStatus::Halted,
            progress: RolloutProgress {
                halted: true,
                ..rollout(RolloutKind::Install, RolloutIntent::Run).progress
            },
            ..rollout(RolloutKind::Install, RolloutIntent::Run)
        };
        assert_eq!(
            next_if_resumed(&halted, vec![failed.clone()], 0, 2000),
            1,
            "as is foretold"
        );
        let running = rollout(RolloutKind::Install, RolloutIntent::Run);
        assert_eq!(
            next_if_resumed(&running, vec![failed.clone()], 0, 2000),
            0,
            "it runs already"
        );
        failed.directive.as_mut().expect("was sent one").failures = 0;
        let (_, _, planned) = look(
            &rollout(RolloutKind::Install, RolloutIntent::Run),
            &[failed.clone()],
            2000,
        );
        assert_eq!(planned.steps, [Step::Install(failed.device)]);
    }

    #[test]
    fn each_state_has_its_own_time_before_silence_counts() {
        use UpdateStep::{Deferred, Downloading, Offered, Trial};
        let mut rollout = rollout(RolloutKind::Install, RolloutIntent::Run);
        rollout.policy = Policy {
            silence_s: 30,
            grace_ms: 20_000,
            max_bps: 1_000,
            ..Policy::default()
        };
        let size = 60_000;
        for (state, late) in [
            (None, 30),
            (Some(Offered), 30),
            (Some(Downloading), 150),
            (Some(Trial), 110),
            (Some(Deferred), 86_430),
        ] {
            let members = [member(1, state.map(UpdateState::Underway))];
            let at = |now| decide(&rollout, &members, size, now).status.as_str();
            // The last report was at 1,000.
            assert_eq!(
                (at(1_000 + late), at(1_001 + late)),
                ("deploying", "halted"),
                "{state:?}"
            );
            let mut unnoticed = members.clone();
            unnoticed[0].directive.as_mut().expect("was sent one").heard = None;
            assert_eq!(
                decide(&rollout, &unnoticed, size, 9_999_999).status.as_str(),
                "deploying",
                "a new word counts as now"
            );
        }
    }

    #[test]
    fn a_directive_that_is_refused_for_its_dates_is_told_again_and_counts_only_in_the_end() {
        let rollout = rollout(RolloutKind::Install, RolloutIntent::Run);
        let mut refused = member(1, Some(UpdateState::Ended(Ending::Rejected)));
        let directive = refused.directive.as_mut().expect("was sent one");
        (directive.reason, directive.steps) = (
            Some(Reason::Expired),
            vec![(UpdateState::Ended(Ending::Rejected), 1)],
        );
        let sent_again = |refused: &RolloutMember, now| look(&rollout, std::slice::from_ref(refused), now);
        let (status, _, planned) = sent_again(&refused, 1_059);
        assert_eq!((status, planned.steps), ("deploying", vec![]));
        assert_eq!(
            sent_again(&refused, 1_060).2.steps,
            [Step::Install(refused.device)]
        );
        refused.directive.as_mut().expect("was sent one").steps =
            vec![(UpdateState::Ended(Ending::Rejected), 1); 12];
        let (status, _, planned) = sent_again(&refused, 9_000);
        assert_eq!(
            (status, planned.evidence.expect("evidence").failures[0].1),
            ("halted", Reason::Expired)
        );
    }

    #[test]
    fn deployed_is_never_said_of_nobody_and_who_was_told_counts_wherever_it_is() {
        let rollout = rollout(RolloutKind::Install, RolloutIntent::Run);
        let decision = decide(&rollout, &[], 0, 2000);
        assert_eq!((decision.status.as_str(), decision.active), ("cancelled", false));
        assert!(
            decision
                .ended
                .is_some_and(|reason| reason.contains("no device is left"))
        );
        let none = Rollout {
            devices: 0,
            ..rollout.clone()
        };
        assert_eq!(
            decide(&none, &[], 0, 2000).status.as_str(),
            "deployed",
            "no device was in the group from the start"
        );

        let mut moved = member(1, Some(UpdateState::Underway(UpdateStep::Trial)));
        moved.in_group = false;
        assert_eq!(
            look(&rollout, &[moved.clone()], 2000).0,
            "deploying",
            "it was notified and is counted"
        );
        let directive = moved.directive.as_mut().expect("was sent one");
        (directive.state, directive.failures) = (Some(UpdateState::Ended(Ending::Cancelled)), 1);
        assert_eq!(look(&rollout, &[moved.clone()], 2000).0, "halted");
        // The rollout of its new group took it over: that says nothing about this release.
        moved.counter = 6;
        assert_eq!(
            look(
                &rollout,
                &[
                    moved.clone(),
                    member(2, Some(UpdateState::Ended(Ending::Committed)))
                ],
                2000
            )
            .0,
            "deployed"
        );
        assert_eq!(look(&rollout, &[moved], 2000).0, "cancelled");
    }
}
