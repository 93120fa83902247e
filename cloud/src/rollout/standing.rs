use iottly_protocol::release::Reason;

use super::{Member, Plan, Standing, Status, plan, rank};
use crate::model::{Rollout, RolloutKind, RolloutMember, RolloutStatus, UnixMs};

/// Unix seconds of a moment.
pub(super) fn seconds(at: UnixMs) -> u64 {
    u64::try_from(at / 1000).unwrap_or(0)
}

/// Where a device stands by what it was told and what it said.
fn standing(member: &RolloutMember) -> Standing {
    use iottly_protocol::release::UpdateState::Committed;
    let Some(told) = &member.told else { return Standing::Untold };
    match told.state {
        Some(Committed) => Standing::Committed,
        Some(state) if state.is_ending() => {
            Standing::Failed { reason: told.reason.unwrap_or(Reason::Timeout), times: told.failures }
        }
        state => {
            // A later rollout has told it something else: to take that back is not this one's business.
            let ours = told.counter >= member.counter && !told.withdrawn;
            let cancellable = ours && state.is_none_or(iottly_protocol::release::UpdateState::is_cancellable);
            Standing::UnderWay { since: seconds(told.at), cancellable, failures: told.failures }
        }
    }
}

/// What is to be done about a rollout now. Pure: the same for every process that looks at the same rows.
pub(super) fn decide(rollout: &Rollout, members: &[RolloutMember], now: UnixMs) -> (Plan, RolloutStatus, bool) {
    let name = rollout.id.to_string();
    let mut sorted: Vec<Member> = members
        .iter()
        .map(|member| Member {
            device: member.device,
            rank: rank(&name, member.device),
            online: member.online,
            standing: standing(member),
        })
        .collect();
    sorted.sort_by_key(|member| member.rank);
    let planned = plan(&rollout.policy, &sorted, &rollout.run, seconds(now));
    let status = match (planned.status, rollout.kind) {
        (Status::Deployed, RolloutKind::Rollback) => RolloutStatus::RolledBack,
        (status, _) => RolloutStatus::Of(status),
    };
    let active = match planned.status {
        Status::Deployed => false,
        Status::Cancelled => !planned.steps.is_empty(),
        Status::Deploying | Status::Paused | Status::Halted => true,
    };
    (planned, status, active)
}

#[cfg(test)]
mod tests {
    use iottly_protocol::release::UpdateState;
    use iottly_protocol::{DeviceId, GroupId};

    use super::*;
    use crate::model::{RolloutId, Told};
    use crate::rollout::{Policy, Run, Step, Wish};

    fn rollout(kind: RolloutKind, wish: Wish) -> Rollout {
        Rollout {
            id: RolloutId::from_bytes([7; 16]),
            group: GroupId::from_bytes([1; 16]),
            release: 3,
            kind,
            policy: Policy::default(),
            approved: Vec::new(),
            force: false,
            run: Run { wish, halted: false, soaking: None },
            status: RolloutStatus::Of(Status::Deploying),
            evidence: None,
            active: true,
            version: 1,
            author: "me".into(),
            created: 0,
            changed: 0,
        }
    }

    fn member(n: u8, state: Option<UpdateState>) -> RolloutMember {
        let told = Told {
            directive: "d-5".into(),
            counter: 5,
            at: 1000,
            withdrawn: false,
            state,
            reason: None,
            detail: None,
            failures: 0,
            changed: 1000,
            steps: Vec::new(),
        };
        let device = DeviceId::from_bytes([n; 16]);
        RolloutMember { device, name: String::new(), online: true, counter: 5, told: Some(told) }
    }

    #[test]
    fn all_committed_is_deployed_or_rolled_back_by_what_it_was_for() {
        let members = [member(1, Some(UpdateState::Committed)), member(2, Some(UpdateState::Committed))];
        let (_, status, active) = decide(&rollout(RolloutKind::Install, Wish::Run), &members, 2000);
        assert_eq!((status.as_str(), active), ("deployed", false));
        let (_, status, active) = decide(&rollout(RolloutKind::Rollback, Wish::Run), &members, 2000);
        assert_eq!((status.as_str(), active), ("rolled_back", false));
    }

    #[test]
    fn a_cancelled_rollout_withdraws_once_and_only_what_is_its_own() {
        let cancelled = rollout(RolloutKind::Install, Wish::Cancel);
        let mut members = [member(1, Some(UpdateState::Downloading)), member(2, Some(UpdateState::Trial)), member(3, None)];
        // A newer rollout has told the third something else.
        members[2].counter = 6;
        let (planned, _, active) = decide(&cancelled, &members, 2000);
        assert_eq!((planned.steps, active), (vec![Step::Withdraw(members[0].device)], true));
        members[0].told.as_mut().expect("told").withdrawn = true;
        let (planned, status, active) = decide(&cancelled, &members, 2000);
        assert_eq!((planned.steps, status.as_str(), active), (vec![], "cancelled", false));
    }

    #[test]
    fn what_failed_and_was_forgiven_is_told_again() {
        let mut failed = member(1, Some(UpdateState::RolledBack));
        failed.told.as_mut().expect("told").failures = 1;
        let (planned, status, active) = decide(&rollout(RolloutKind::Install, Wish::Run), &[failed.clone()], 2000);
        assert_eq!((planned.steps.len(), status.as_str(), active), (0, "halted", true));
        failed.told.as_mut().expect("told").failures = 0;
        let (planned, _, _) = decide(&rollout(RolloutKind::Install, Wish::Run), &[failed.clone()], 2000);
        assert_eq!(planned.steps, [Step::Tell(failed.device)]);
    }
}
