//! The plan of a rollout: its next steps and status. Pure.

use iottly_protocol::DeviceId;
use iottly_protocol::release::Reason;

use crate::model::{Policy, RolloutIntent, RolloutProgress, RolloutStatus};

/// State of a device in the rollout, derived from its reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceProgress {
    /// The device was not notified.
    Pending,
    /// The device was notified and has not finished.
    UnderWay {
        /// Time from which silence is counted, in seconds of the steady clock: the last report, plus the time
        /// that its state may take.
        since: u64,
        /// True if the update may still be cancelled.
        cancellable: bool,
        /// Number of earlier failures.
        failures: u32,
    },
    /// The device reported that the release is committed and healthy.
    Committed,
    /// The device failed to install the release.
    Failed {
        /// Reason of the last failure.
        reason: Reason,
        /// Number of failures.
        times: u32,
    },
}

/// A device of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Device id.
    pub device: DeviceId,
    /// Position in the order of the rollout, see [`rank`].
    pub rank: u64,
    /// True while the device is connected.
    pub online: bool,
    /// State of the device in the rollout.
    pub progress: DeviceProgress,
}

/// A step to execute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send this device a directive to install.
    Install(DeviceId),
    /// Send this device a directive to cancel.
    Cancel(DeviceId),
}

/// Reason for which a rollout halted itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Description, for people.
    pub detail: String,
    /// First devices that failed, and their reasons.
    pub failures: Vec<(DeviceId, Reason)>,
}

/// Result of planning, derived from the members' states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Status of the rollout; a complete rollback is [`Deployed`](RolloutStatus::Deployed) here.
    pub status: RolloutStatus,
    /// Steps to execute now.
    pub steps: Vec<Step>,
    /// Evidence for halting, now or before.
    pub evidence: Option<Evidence>,
    /// Progress of the rollout after these steps.
    pub progress: RolloutProgress,
}

/// Maximum number of failures that the evidence lists.
const MAX_EVIDENCE: usize = 20;

/// Returns a device's rank in a rollout: always the same in one rollout, and different in the next.
#[must_use]
pub fn rank(rollout: &str, device: DeviceId) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(rollout.as_bytes());
    hasher.update(&[0]);
    hasher.update(device.as_bytes());
    let digest = hasher.finalize();
    u64::from_be_bytes(*digest.as_bytes().first_chunk().expect("a digest has 32 bytes"))
}

/// Plans the next steps. `members` are sorted by rank; pinned ones are skipped. `now` is in seconds of the
/// steady clock, which is never set.
///
/// ```
/// use iottly_core::model::{Policy, RolloutIntent, RolloutProgress};
/// use iottly_core::rollout::{DeviceProgress, Member, Step, plan};
/// use iottly_protocol::DeviceId;
///
/// let policy = Policy { canary: 1, ..Policy::default() };
/// let progress = RolloutProgress { intent: RolloutIntent::Run, halted: false, soaking: None };
/// let mut members: Vec<Member> = (0..3)
///     .map(|rank| Member { device: DeviceId::random(), rank, online: true, progress: DeviceProgress::Pending })
///     .collect();
///
/// // The canary comes first; once its release is committed, all others follow.
/// let first = plan(&policy, &members, &progress, 0);
/// assert_eq!(first.steps, [Step::Install(members[0].device)]);
/// members[0].progress = DeviceProgress::Committed;
/// let then = plan(&policy, &members, &first.progress, 60);
/// assert_eq!(then.steps, [Step::Install(members[1].device), Step::Install(members[2].device)]);
/// ```
#[must_use]
pub fn plan(policy: &Policy, members: &[Member], progress: &RolloutProgress, now: u64) -> Plan {
    let members: Vec<&Member> = members
        .iter()
        .filter(|member| !policy.pins.contains(&member.device))
        .collect();
    let mut progress = progress.clone();
    let stop = |status, steps, progress| Plan {
        status,
        steps,
        evidence: None,
        progress,
    };
    match progress.intent {
        RolloutIntent::Cancel => {
            let cancellable = |member: &&&Member| {
                matches!(
                    member.progress,
                    DeviceProgress::UnderWay {
                        cancellable: true,
                        ..
                    }
                )
            };
            let steps = members
                .iter()
                .filter(cancellable)
                .map(|member| Step::Cancel(member.device))
                .collect();
            return stop(RolloutStatus::Cancelled, steps, progress);
        }
        RolloutIntent::Pause => return stop(RolloutStatus::Paused, Vec::new(), progress),
        RolloutIntent::Run if progress.halted => {
            let evidence = Some(too_many_failures(policy, &members, now).unwrap_or_else(over));
            return Plan {
                status: RolloutStatus::Halted,
                steps: Vec::new(),
                evidence,
                progress,
            };
        }
        RolloutIntent::Run => {}
    }
    if let Some(evidence) = too_many_failures(policy, &members, now) {
        progress.halted = true;
        return Plan {
            status: RolloutStatus::Halted,
            steps: Vec::new(),
            evidence: Some(evidence),
            progress,
        };
    }
    let open = open_wave(policy, &members, &mut progress, now);
    let under_way = members
        .iter()
        .filter(|member| is_under_way(policy, member, now))
        .count();
    let room = match policy.concurrency {
        0 => usize::MAX,
        limit => usize::try_from(limit)
            .unwrap_or(usize::MAX)
            .saturating_sub(under_way),
    };
    let due = members[..open]
        .iter()
        .filter(|member| member.online && is_eligible(policy, member));
    let steps: Vec<Step> = due
        .take(room)
        .map(|member| Step::Install(member.device))
        .collect();
    let done = steps.is_empty() && members.iter().all(|member| is_finished(policy, member, now));
    let status = if done {
        RolloutStatus::Deployed
    } else {
        RolloutStatus::Deploying
    };
    Plan {
        status,
        steps,
        evidence: None,
        progress,
    }
}

/// Returns the evidence of a halted rollout whose cause is gone; its owner decides whether to resume it.
fn over() -> Evidence {
    let detail =
        "the devices that stopped it have reported since: no more have failed than may; resume it to go on";
    Evidence {
        detail: detail.to_owned(),
        failures: Vec::new(),
    }
}

fn is_silent(policy: &Policy, member: &Member, now: u64) -> bool {
    matches!(member.progress, DeviceProgress::UnderWay { since, .. } if now.saturating_sub(since) > policy.silence_s)
}

fn is_under_way(policy: &Policy, member: &Member, now: u64) -> bool {
    matches!(member.progress, DeviceProgress::UnderWay { .. }) && !is_silent(policy, member, now)
}

fn is_eligible(policy: &Policy, member: &Member) -> bool {
    match member.progress {
        DeviceProgress::Pending => true,
        // The first failure is not a retry yet.
        DeviceProgress::Failed { times, .. } => times <= policy.retries,
        DeviceProgress::UnderWay { .. } | DeviceProgress::Committed => false,
    }
}

fn has_failed(policy: &Policy, member: &Member, now: u64) -> bool {
    match member.progress {
        DeviceProgress::Failed { times, .. } => times > policy.retries,
        DeviceProgress::Pending | DeviceProgress::UnderWay { .. } | DeviceProgress::Committed => {
            is_silent(policy, member, now)
        }
    }
}

fn is_finished(policy: &Policy, member: &Member, now: u64) -> bool {
    member.progress == DeviceProgress::Committed || has_failed(policy, member, now)
}

/// Returns true if a wave does not have to wait for the device any more. An offline device is notified when
/// it connects.
fn is_settled(policy: &Policy, member: &Member, now: u64) -> bool {
    is_finished(policy, member, now) || (!member.online && member.progress == DeviceProgress::Pending)
}

fn too_many_failures(policy: &Policy, members: &[&Member], now: u64) -> Option<Evidence> {
    let failed: Vec<&&Member> = members
        .iter()
        .filter(|member| has_failed(policy, member, now))
        .collect();
    let canary = usize::try_from(policy.canary)
        .unwrap_or(usize::MAX)
        .min(members.len());
    let in_canary = members[..canary]
        .iter()
        .filter(|member| has_failed(policy, member, now))
        .count();
    let finished = members
        .iter()
        .filter(|member| is_finished(policy, member, now))
        .count();
    let allowed = usize::try_from(policy.canary_failures).unwrap_or(usize::MAX);
    let sampled = finished >= usize::try_from(policy.sample).unwrap_or(usize::MAX);
    let detail = if in_canary > allowed {
        format!("{in_canary} of {canary} devices of the canary failed, {allowed} may")
    } else if sampled && failed.len() * 100 > finished * usize::from(policy.failure_percent) {
        format!(
            "{} of {finished} finished devices failed, {} percent may",
            failed.len(),
            policy.failure_percent
        )
    } else {
        return None;
    };
    let reason = |member: &&&Member| match member.progress {
        DeviceProgress::Failed { reason, .. } => reason,
        DeviceProgress::Pending | DeviceProgress::UnderWay { .. } | DeviceProgress::Committed => {
            Reason::Timeout
        }
    };
    let failures = failed
        .iter()
        .take(MAX_EVIDENCE)
        .map(|member| (member.device, reason(member)))
        .collect();
    Some(Evidence { detail, failures })
}

/// Returns the number of members, in order, that may be notified: those of the open waves.
fn open_wave(policy: &Policy, members: &[&Member], progress: &mut RolloutProgress, now: u64) -> usize {
    for end in policy.ends(members.len()) {
        if !members[..end]
            .iter()
            .all(|member| is_settled(policy, member, now))
        {
            return end;
        }
        let reached = end as u64;
        match progress.soaking {
            Some((soaked, _)) if soaked > reached => {}
            Some((soaked, since)) if soaked == reached => {
                if now.saturating_sub(since) < policy.soak_s {
                    return end;
                }
            }
            _ => {
                progress.soaking = Some((reached, now));
                if policy.soak_s > 0 {
                    return end;
                }
            }
        }
    }
    members.len()
}

#[cfg(test)]
mod tests;
