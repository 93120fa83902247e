//! Executes plans: writes a step down, then tells the devices. What was written and not told is told at the devices' next hello.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use iottly_protocol::ProjectId;
use iottly_protocol::release::Action;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::service::{counter, directive};
use super::standing::decide;
use super::{Evidence, Plan, Rollouts, Step};
use crate::clock;
use crate::model::{Rollout, RolloutId, RolloutMember, RolloutStatus, RolloutStep, Scope, StoredRelease, Telling, UnixMs};
use crate::releases::ReleaseError;
use crate::store::StoreError;

/// How often rollouts are looked at when nothing happens: soaking and silence count in seconds.
const TICK: Duration = Duration::from_secs(1);
/// How often timestamps are looked at.
const REFRESH: Duration = Duration::from_secs(3600);
/// How long a connected device may say nothing about a directive before it is sent again.
const RESEND: Duration = Duration::from_secs(10);

/// Why a step was not taken; it is tried again.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Release(#[from] ReleaseError),
    #[error("a signed directive is no JSON: {0}")]
    Directive(#[from] serde_json::Error),
}

impl Rollouts {
    /// Runs until it is aborted.
    pub(crate) async fn run(self: Arc<Self>) {
        let (mut tick, mut refresh) = (interval(TICK), interval(REFRESH));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut resent: HashMap<RolloutId, Instant> = HashMap::new();
        loop {
            tokio::select! {
                () = self.news.notified() => {}
                _ = tick.tick() => {}
                _ = refresh.tick() => {
                    if let Err(error) = self.on_shelf(|shelf, now| shelf.refresh(now)).await {
                        tracing::error!(%error, "timestamps of releases are signed later");
                    }
                }
            }
            let active = match self.store.active_rollouts().await {
                Ok(active) => active,
                Err(error) => {
                    tracing::error!(%error, "rollouts wait");
                    continue;
                }
            };
            let known: HashSet<RolloutId> = active.iter().map(|(_, id)| *id).collect();
            resent.retain(|id, _| known.contains(id));
            for (project, id) in active {
                if let Err(error) = self.step(project, id, &mut resent).await {
                    tracing::error!(%project, rollout = %id, %error, "a rollout waits");
                }
            }
        }
    }

    /// Decides on a rollout and does what follows.
    async fn step(&self, project: ProjectId, id: RolloutId, resent: &mut HashMap<RolloutId, Instant>) -> Result<(), StepError> {
        let now = clock::now();
        let Some(rollout) = self.store.rollout(project, id).await?.filter(|rollout| rollout.active) else { return Ok(()) };
        let members = self.store.rollout_members(project, &rollout).await?;
        let (planned, status, active) = decide(&rollout, &members, now);
        if resent.get(&id).is_none_or(|at| at.elapsed() >= RESEND) {
            resent.insert(id, Instant::now());
            self.remind(project, &members, now).await?;
        }
        let changed = planned.run != rollout.run || status != rollout.status || active != rollout.active;
        if !changed && planned.steps.is_empty() {
            return Ok(());
        }
        let Some(release) = self.store.one_release(project, rollout.release).await? else { return Ok(()) };
        let step = self.prepare_step(project, &rollout, &release, &members, (planned, status, active), now).await?;
        if !self.store.save_rollout_step(project, &step, now).await? {
            // Its owner was quicker.
            self.wake();
            return Ok(());
        }
        tracing::info!(%project, rollout = %id, status = step.status.as_str(), told = step.told.len(), "rollout");
        for telling in step.told.into_iter().chain(step.withdrawn) {
            self.publish(telling.device, telling.document).await;
        }
        Ok(())
    }

    /// Signs what a plan wants to tell.
    async fn prepare_step(
        &self,
        project: ProjectId,
        rollout: &Rollout,
        release: &StoredRelease,
        members: &[RolloutMember],
        (planned, status, active): (Plan, RolloutStatus, bool),
        now: UnixMs,
    ) -> Result<RolloutStep, StepError> {
        let known: HashMap<_, _> = members.iter().map(|member| (member.device, member)).collect();
        let (mut told, mut withdrawn) = (Vec::new(), Vec::new());
        for step in &planned.steps {
            let (list, device, action) = match *step {
                Step::Tell(device) => (&mut told, device, Action::Install),
                Step::Withdraw(device) => (&mut withdrawn, device, Action::Cancel),
            };
            let Some(member) = known.get(&device) else { continue };
            let new = directive(project, rollout, &release.path, device, (action, member.told.is_some()));
            list.push((new, counter(member.counter, now)));
        }
        let count = told.len();
        let all: Vec<_> = told.into_iter().chain(withdrawn).collect();
        let target = release.path.clone();
        let signed = if all.is_empty() {
            Vec::new()
        } else {
            self.on_shelf(move |shelf, at| shelf.direct(project, &target, all, at)).await?
        };
        let mut tellings = Vec::with_capacity(signed.len());
        for (directive, document) in signed {
            let iottly_protocol::release::Audience::Device(device) = directive.audience else { continue };
            let document: Box<RawValue> = serde_json::from_slice(&document)?;
            tellings.push(Telling { device, directive: directive.id, counter: directive.counter, document });
        }
        let withdrawn = tellings.split_off(count.min(tellings.len()));
        let through = matches!(status.as_str(), "deployed" | "rolled_back");
        Ok(RolloutStep {
            id: rollout.id,
            group: rollout.group,
            version: rollout.version,
            run: planned.run,
            status,
            evidence: planned.evidence.as_ref().map(evidence),
            active,
            revision: through.then_some(release.revision),
            told: tellings,
            withdrawn,
        })
    }

    /// Sends directives again to connected devices that have said nothing about them.
    async fn remind(&self, project: ProjectId, members: &[RolloutMember], now: UnixMs) -> Result<(), StepError> {
        let late = now - UnixMs::try_from(RESEND.as_millis()).unwrap_or(UnixMs::MAX);
        for member in members.iter().filter(|member| member.online) {
            if member.told.as_ref().is_some_and(|told| told.state.is_none() && told.at < late) {
                self.send_open(Scope { project, device: member.device }).await?;
            }
        }
        Ok(())
    }
}

fn evidence(evidence: &Evidence) -> String {
    let failures: Vec<_> = evidence.failures.iter().map(|(device, reason)| json!({"device": device, "reason": reason})).collect();
    json!({"detail": evidence.detail, "failures": failures}).to_string()
}
