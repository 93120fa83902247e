//! Executes plans: stores a step first, then sends its directives. A directive that was stored but not sent
//! is sent at the device's next hello.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use iottly_protocol::ProjectId;
use iottly_protocol::release::Action;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::send::{counter, directive};
use super::{Rollouts, SteadyClock};
use crate::clock;
use crate::live::Parts;
use crate::releases::ReleaseError;
use iottly_core::model::{
    OutgoingDirective, Rollout, RolloutId, RolloutMember, RolloutStep, Scope, StoredRelease, UnixMs,
};
use iottly_core::rollout::{Decision, decide};
use iottly_core::rollout::{Evidence, Step};
use iottly_store::StoreError;

/// Interval at which rollouts are planned when nothing happens: soaking and silence are counted in seconds.
/// Reports, hellos and commands of operators do not wait for it.
const TICK: Duration = Duration::from_secs(1);
/// Interval at which the steady clock is stored while rollouts are active.
const KEEP_CLOCK: Duration = Duration::from_secs(30);
/// Time that a connected device may leave a directive unanswered before it is sent again.
const RESEND: Duration = Duration::from_secs(10);
/// Pause of a rollout whose step failed.
const PAUSE: Duration = Duration::from_secs(10);
/// Rest of a rollout after a step, as a multiple of the time of this step and of those of other rollouts that took no longer:
/// rollouts to very many devices use a quarter of a core together, and those to few devices do not wait for them.
const REST: u32 = 3;
/// Maximum rest of a rollout. A step that sends directives to very many devices takes longer than the next ones.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// Error of a step; the step is tried again.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A directive could not be signed.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// A signed directive cannot be parsed.
    #[error("signed directive is not valid JSON: {0}")]
    Directive(#[from] serde_json::Error),
}

/// State of the executor between two rounds.
#[derive(Default)]
struct Notes {
    /// Time at which the open directives of a rollout were last sent again.
    resent: HashMap<RolloutId, Instant>,
    /// Time at which the reports of a rollout's devices were last dated by the steady clock.
    heard: HashMap<RolloutId, Instant>,
    /// Time at which a step of a rollout failed.
    failed: HashMap<RolloutId, Instant>,
    /// Time that the last step of a rollout took, and end of the rest after it.
    rests: HashMap<RolloutId, (Duration, Instant)>,
    /// Earliest end of a rest because of which a step was not taken in this round.
    due: Option<Instant>,
}

/// Work of a step besides the plan, which is not due each time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Chores {
    /// Send directives again that connected devices have not answered.
    pub resend: bool,
    /// Date new reports by the steady clock, from which a device's silence is counted.
    pub date_reports: bool,
}

impl Notes {
    fn keep(&mut self, known: &HashSet<RolloutId>) {
        self.resent.retain(|id, _| known.contains(id));
        self.heard.retain(|id, _| known.contains(id));
        self.rests.retain(|id, _| known.contains(id));
        self.failed
            .retain(|id, at| known.contains(id) && at.elapsed() < PAUSE);
    }

    /// Returns true if a rollout rests, and notes when it does not any more.
    fn rests(&mut self, id: RolloutId, now: Instant) -> bool {
        let end = self.rests.get(&id).map(|(_, end)| *end).filter(|end| *end > now);
        if let Some(end) = end {
            self.due = Some(self.due.map_or(end, |due| due.min(end)));
        }
        end.is_some()
    }

    /// Notes the time that a step took until `now`, after which the rollout rests.
    fn took(&mut self, id: RolloutId, took: Duration, now: Instant) {
        self.rests.insert(id, (took, now));
        let steps = self.rests.values().map(|(took, _)| *took);
        let no_longer: Duration = steps.filter(|other| *other <= took).sum();
        let end = now + (no_longer * REST).min(LONGEST_REST);
        self.rests.insert(id, (took, end));
    }

    /// Returns the chores of a rollout that are due.
    fn chores(&mut self, id: RolloutId) -> Chores {
        Chores {
            resend: is_due(&mut self.resent, id, RESEND),
            // Once a second: silence is counted in seconds, and each dating is a commit of its own.
            date_reports: is_due(&mut self.heard, id, TICK),
        }
    }
}

/// Returns true, and notes the time, if the last time is at least `every` ago.
fn is_due(times: &mut HashMap<RolloutId, Instant>, id: RolloutId, every: Duration) -> bool {
    let due = times.get(&id).is_none_or(|at| at.elapsed() >= every);
    if due {
        times.insert(id, Instant::now());
    }
    due
}

impl Rollouts {
    /// Runs until aborted.
    pub async fn run(self: Arc<Self>) {
        tokio::join!(self.execute(), self.keep_up());
    }

    async fn execute(&self) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut notes, mut steady, mut kept) = (Notes::default(), None, None::<Instant>);
        loop {
            let due = notes.due.take();
            tokio::select! {
                () = self.wake_up.notified() => {}
                _ = tick.tick() => {}
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
            let active = match self.store.active_rollouts().await {
                Ok(active) => active,
                Err(error) => {
                    tracing::error!(%error, "failed to read the active rollouts; retrying in 1 s");
                    continue;
                }
            };
            notes.keep(&active.iter().map(|(_, id)| *id).collect());
            if active.is_empty() {
                continue;
            }
            if let Err(error) = self.wind(&mut steady, &mut kept).await {
                tracing::error!(%error, "failed to store the steady clock; retrying in 1 s");
            }
            let Some(steady) = &steady else { continue };
            for (project, id) in active {
                self.take_step(project, id, steady, &mut notes).await;
            }
        }
    }

    /// Starts the steady clock from the time stored in the database, and stores it from time to time.
    async fn wind(
        &self,
        steady: &mut Option<SteadyClock>,
        kept: &mut Option<Instant>,
    ) -> Result<(), StoreError> {
        if kept.is_some_and(|at| at.elapsed() < KEEP_CLOCK) {
            return Ok(());
        }
        if steady.is_none() {
            let first = SteadyClock::first(self.store.steady_clock().await?, clock::now());
            *steady = Some(SteadyClock::starting_at(first));
        }
        let clock = steady.as_ref().expect("it was started above");
        clock.catch_up(self.store.advance_clock(clock.now()).await?);
        *kept = Some(Instant::now());
        Ok(())
    }

    async fn take_step(&self, project: ProjectId, id: RolloutId, steady: &SteadyClock, notes: &mut Notes) {
        let began = Instant::now();
        if notes.failed.contains_key(&id) || notes.rests(id, began) {
            return;
        }
        let chores = notes.chores(id);
        if let Err(error) = self.step(project, id, steady.now(), chores).await {
            tracing::error!(project.id = %project, rollout.id = %id, %error, "failed to take a step of a rollout; retrying in 10 s");
            notes.failed.insert(id, Instant::now());
        }
        let now = Instant::now();
        notes.took(id, now - began, now);
    }

    /// Plans a rollout and executes the resulting step, in a span of its own; `steady` is the time of the
    /// steady clock in milliseconds.
    ///
    /// # Errors
    /// If the store fails or a directive cannot be signed.
    #[tracing::instrument(level = "error", name = "rollout_step", skip_all, fields(project.id = %project, rollout.id = %id))]
    pub async fn step(
        &self,
        project: ProjectId,
        id: RolloutId,
        steady: u64,
        chores: Chores,
    ) -> Result<(), StepError> {
        let now = clock::now();
        let Some(rollout) = self
            .store
            .rollout(project, id)
            .await?
            .filter(|rollout| rollout.active)
        else {
            return Ok(());
        };
        let Some(release) = self.store.one_release(project, rollout.release).await? else {
            return Ok(());
        };
        let members = self.store.rollout_members(project, &rollout).await?;
        let undated = members
            .iter()
            .filter_map(|member| member.directive.as_ref())
            .any(|directive| directive.heard.is_none());
        if chores.date_reports && undated {
            self.store.note_heard(project, id, steady).await?;
        }
        let decision = decide(&rollout, &members, release.size, steady / 1000);
        if chores.resend {
            self.resend_unanswered(project, &members, steady).await?;
        }
        let text = decision
            .plan
            .evidence
            .as_ref()
            .map(evidence)
            .filter(|text| rollout.evidence.as_deref() != Some(text.as_str()));
        let changed = decision.plan.progress != rollout.progress
            || decision.status != rollout.status
            || decision.active != rollout.active;
        if !changed && decision.plan.steps.is_empty() && text.is_none() {
            return Ok(());
        }
        let mut step = self
            .prepare_step(project, &rollout, &release, &members, decision, now)
            .await?;
        step.evidence = text;
        if !self.store.save_rollout_step(project, &step, now).await? {
            // The rollout was changed concurrently; plan again.
            self.wake();
            return Ok(());
        }
        self.feed.step(project);
        self.live.changed(project, None, Parts::GROUP);
        tracing::info!(
            rollout.status = step.status.as_str(),
            directives.install = step.install.len(),
            directives.cancel = step.cancel.len(),
            "saved a step of a rollout; sending its directives"
        );
        for directive in step.install.into_iter().chain(step.cancel) {
            self.send_directive(directive.device, directive.document).await;
        }
        Ok(())
    }

    /// Signs the directives of a plan.
    async fn prepare_step(
        &self,
        project: ProjectId,
        rollout: &Rollout,
        release: &StoredRelease,
        members: &[RolloutMember],
        Decision {
            plan,
            status,
            active,
            ended,
        }: Decision,
        now: UnixMs,
    ) -> Result<RolloutStep, StepError> {
        let known: HashMap<_, _> = members.iter().map(|member| (member.device, member)).collect();
        let (mut install, mut cancel) = (Vec::new(), Vec::new());
        for step in &plan.steps {
            let (list, device, action) = match *step {
                Step::Install(device) => (&mut install, device, Action::Install),
                Step::Cancel(device) => (&mut cancel, device, Action::Cancel),
            };
            let Some(member) = known.get(&device) else {
                continue;
            };
            let new = directive(
                project,
                rollout,
                &release.path,
                device,
                (action, member.directive.is_some()),
            );
            list.push((new, counter(member.counter, now)));
        }
        let count = install.len();
        let mut install = self
            .sign(
                project,
                &release.path,
                install.into_iter().chain(cancel).collect(),
            )
            .await?;
        let cancel = install.split_off(count.min(install.len()));
        Ok(RolloutStep {
            id: rollout.id,
            group: rollout.group,
            version: rollout.version,
            halts: plan.progress.halted && !rollout.progress.halted,
            progress: plan.progress,
            status,
            evidence: None,
            ended,
            active,
            revision: status.is_complete().then_some(release.revision),
            install,
            cancel,
        })
    }

    async fn sign(
        &self,
        project: ProjectId,
        target: &str,
        new: Vec<(crate::releases::NewDirective, u64)>,
    ) -> Result<Vec<OutgoingDirective>, StepError> {
        if new.is_empty() {
            return Ok(Vec::new());
        }
        let target = target.to_owned();
        let signed = self
            .with_repositories(move |repositories, at| {
                repositories.sign_directives(project, &target, new, at)
            })
            .await?;
        let mut outgoing = Vec::with_capacity(signed.len());
        for (directive, document) in signed {
            let iottly_protocol::release::Audience::Device(device) = directive.audience else {
                continue;
            };
            let document: Box<RawValue> = serde_json::from_slice(&document)?;
            outgoing.push(OutgoingDirective {
                device,
                id: directive.id,
                counter: directive.counter,
                document,
            });
        }
        Ok(outgoing)
    }

    /// Sends directives again to connected devices that have not answered them.
    async fn resend_unanswered(
        &self,
        project: ProjectId,
        members: &[RolloutMember],
        steady: u64,
    ) -> Result<(), StepError> {
        let late = steady.saturating_sub(u64::try_from(RESEND.as_millis()).unwrap_or(u64::MAX));
        for member in members.iter().filter(|member| member.online) {
            if member.directive.as_ref().is_some_and(|directive| {
                directive.state.is_none() && directive.heard.is_some_and(|at| at < late)
            }) {
                self.send_open_directive(Scope {
                    project,
                    device: member.device,
                })
                .await?;
            }
        }
        Ok(())
    }
}

fn evidence(evidence: &Evidence) -> String {
    let failures: Vec<_> = evidence
        .failures
        .iter()
        .map(|(device, reason)| json!({"device": device, "reason": reason}))
        .collect();
    json!({"detail": evidence.detail, "failures": failures}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollout_rests_after_its_steps_and_a_small_one_not_for_a_large_one() {
        let (small, large, other) = (
            RolloutId::from_bytes([1; 16]),
            RolloutId::from_bytes([2; 16]),
            RolloutId::from_bytes([3; 16]),
        );
        let (now, ms) = (Instant::now(), Duration::from_millis);
        let mut notes = Notes::default();
        assert!(!notes.rests(large, now), "no step was taken yet");
        notes.took(large, ms(400), now);
        assert!(notes.rests(large, now + ms(1_199)) && !notes.rests(large, now + ms(1_200)));
        notes.took(small, ms(2), now);
        assert!(notes.rests(small, now + ms(5)) && !notes.rests(small, now + ms(6)));
        notes.took(other, ms(400), now);
        assert!(
            notes.rests(other, now + ms(2_405)),
            "with the other large one and the small one"
        );
        assert!(!notes.rests(other, now + ms(2_406)));

        notes.keep(&HashSet::from([small, other]));
        notes.due = None;
        assert!(!notes.rests(large, now), "it has ended");
        assert!(notes.rests(other, now) && notes.rests(small, now));
        assert_eq!(notes.due, Some(now + ms(6)), "the first end wakes the executor");

        notes.took(small, Duration::from_secs(60), now);
        assert!(notes.rests(small, now + ms(9_999)) && !notes.rests(small, now + LONGEST_REST));
    }
}
