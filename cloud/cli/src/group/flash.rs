//! A rollout from this machine: the plan is the cloud library's, what devices say comes from the API, directives are signed here.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use iottly_cloud::releases::{KeyFolder, NewDirective, ReleaseRepository};
use iottly_cloud::rollout::{Evidence, Member, Policy, Run, Standing, Status, Step, Wish, plan, rank};
use iottly_protocol::release::{Action, Audience, Reason, Release};
use iottly_protocol::{DeviceId, ProjectId};

use super::remote::{Api, Group, Told};
use crate::release::now;

/// How often the devices are asked about.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// How a rollout ended.
pub(super) enum End {
    Deployed,
    Halted(Evidence),
}

/// A rollout under way.
pub(super) struct Flash<'a> {
    pub(super) api: &'a Api,
    pub(super) repository: &'a ReleaseRepository,
    pub(super) keys: &'a KeyFolder,
    pub(super) project: ProjectId,
    pub(super) release: &'a Release,
    pub(super) policy: &'a Policy,
    /// How long an update may take, seconds.
    pub(super) deadline_s: u64,
}

/// What this run knows about a device.
#[derive(Default)]
struct Known {
    /// Endings that it had told before this run: they count for nothing.
    before: usize,
    /// When it was told, and how many endings it had told by then.
    told: Option<(u64, usize)>,
    /// What was printed last.
    shown: String,
}

fn is_ending(told: &Told) -> bool {
    matches!(told.state.as_str(), "committed" | "rejected" | "failed" | "cancelled" | "rolled_back")
}

fn reason(told: &Told) -> Reason {
    let text = told.reason.as_deref().unwrap_or_default();
    Reason::ALL.iter().copied().find(|reason| reason.as_str() == text).unwrap_or(Reason::Timeout)
}

/// Where a device stands, by what it has said (newest first) and what this run has told it.
fn standing(said: &[Told], known: &Known, now: u64) -> Standing {
    let endings = said.iter().filter(|told| is_ending(told)).count();
    let failures = endings.saturating_sub(known.before);
    let times = u32::try_from(failures).unwrap_or(u32::MAX);
    match (said.first(), known.told) {
        (Some(last), _) if last.state == "committed" => Standing::Committed,
        // It has not ended since it was told.
        (last, Some((since, ended))) if endings <= ended => {
            let late =
                last.is_some_and(|last| matches!(last.state.as_str(), "switching" | "trial" | "committing" | "rolling_back"));
            Standing::UnderWay { since, cancellable: !late, failures: times }
        }
        (Some(last), None) if !is_ending(last) => Standing::UnderWay { since: now, cancellable: true, failures: 0 },
        (Some(last), _) if failures > 0 => Standing::Failed { reason: reason(last), times },
        _ => Standing::Untold,
    }
}

impl Flash<'_> {
    /// Goes on until every device runs the release or the rollout stops itself.
    pub(super) fn run(&self, group: &Group) -> anyhow::Result<End> {
        let rollout = format!("{}{}", group.id, self.release.sha256);
        let mut run = Run { wish: Wish::Run, halted: false, soaking: None };
        let mut known: BTreeMap<DeviceId, Known> = BTreeMap::new();
        for device in &group.boards {
            let said = self.api.told(*device, &self.release.sha256)?;
            let before = said.iter().filter(|told| is_ending(told)).count();
            known.insert(*device, Known { before, ..Known::default() });
        }
        loop {
            let (unix, now_ms) = now()?;
            let online = self.api.online()?;
            let mut members = Vec::with_capacity(known.len());
            for (device, known) in &mut known {
                let said = self.api.told(*device, &self.release.sha256)?;
                show(*device, said.first(), known)?;
                let standing = standing(&said, known, unix.unix());
                members.push(Member {
                    device: *device,
                    rank: rank(&rollout, *device),
                    online: online.contains(device),
                    standing,
                });
            }
            members.sort_by_key(|member| member.rank);
            let planned = plan(self.policy, &members, &run, unix.unix());
            if let Some(evidence) = planned.evidence {
                return Ok(End::Halted(evidence));
            }
            if planned.status == Status::Deployed {
                return Ok(End::Deployed);
            }
            for step in planned.steps {
                let Step::Tell(device) = step else { continue };
                let Some(known) = known.get_mut(&device) else { continue };
                let again =
                    members.iter().any(|member| member.device == device && matches!(member.standing, Standing::Failed { .. }));
                self.repository.direct(self.directive(device, again), self.keys, unix, now_ms)?;
                let endings = self.api.told(device, &self.release.sha256)?.iter().filter(|told| is_ending(told)).count();
                known.told = Some((unix.unix(), endings));
            }
            run = planned.run;
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn directive(&self, device: DeviceId, again: bool) -> NewDirective {
        NewDirective {
            project: self.project,
            audience: Audience::Device(device),
            action: Action::Install,
            target: self.release.path.clone(),
            valid_s: self.deadline_s.saturating_mul(2),
            deadline_s: self.deadline_s,
            window: None,
            max_bps: 0,
            force_retry: again,
            approved: Vec::new(),
        }
    }
}

/// Prints where a device is, once for each change.
fn show(device: DeviceId, last: Option<&Told>, known: &mut Known) -> anyhow::Result<()> {
    let (Some(last), Some(_)) = (last, known.told) else { return Ok(()) };
    let mut text = format!("{device} {}", last.state);
    for more in [&last.reason, &last.detail].into_iter().flatten() {
        text = format!("{text}: {more}");
    }
    let mark = format!("{:?}{text}", last.directive);
    if mark != known.shown {
        writeln!(std::io::stdout().lock(), "{text}").context("cannot write to standard output")?;
        known.shown = mark;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(states: &[&str]) -> Vec<Told> {
        let told =
            |state: &&str| Told { state: (*state).into(), directive: None, reason: Some("crash_loop".into()), detail: None };
        states.iter().map(told).collect()
    }

    #[test]
    fn a_device_stands_where_it_says() {
        let fresh = Known::default();
        assert_eq!(standing(&[], &fresh, 5), Standing::Untold);
        assert_eq!(standing(&said(&["committed", "trial"]), &fresh, 5), Standing::Committed);
        let told = Known { told: Some((3, 0)), ..Known::default() };
        assert_eq!(standing(&[], &told, 5), Standing::UnderWay { since: 3, cancellable: true, failures: 0 });
        assert_eq!(standing(&said(&["trial"]), &told, 5), Standing::UnderWay { since: 3, cancellable: false, failures: 0 });
        let failed = said(&["rolled_back", "trial"]);
        assert_eq!(standing(&failed, &told, 5), Standing::Failed { reason: Reason::CrashLoop, times: 1 });
        // Told again: what it said before is no answer to that.
        let again = Known { told: Some((4, 1)), ..Known::default() };
        assert_eq!(standing(&failed, &again, 5), Standing::UnderWay { since: 4, cancellable: true, failures: 1 });
        // An earlier rollout of the same release counts for nothing.
        let later = Known { before: 1, ..Known::default() };
        assert_eq!(standing(&failed, &later, 5), Standing::Untold);
    }
}
