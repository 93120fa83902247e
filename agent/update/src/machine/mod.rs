//! The update's state machine: event and time in, effects out. Opens no file and no socket, and reads no
//! clock.
//!
//! Every transition begins with [`Effect::Journal`]; the driver stops at an effect that fails. After a power
//! cut the machine continues from the journal and from where the pointer points.
//!
//! Durations are counted on the growing clock and stored in the journal; the date decides on maintenance
//! windows alone.

mod engine;
mod time;
mod trial;

pub use time::MAX_DEFERRED_MS;

use iottly_protocol::release::{Action, Ending, EngineFact, Reason, Refusal, Step, UpdateState};

use crate::event::{Effect, Event, Now, Progress, refusal};
use crate::memory::{Attempt, Memory, Outcome};
use crate::offer::{Offer, Planned};
use crate::slot::{Running, Slot, Start};

/// Maximum number of journal writes for one update, which limits the wear of a loop.
pub const MAX_WRITES: u32 = 28;
/// Maximum number of board starts within one trial.
pub const MAX_BOOTS: u32 = 3;
/// Number of bad copies of a part after which the update fails.
const MAX_CORRUPT: u32 = 3;
/// Longest wait between two tries to fetch a part, in milliseconds.
const MAX_BACKOFF_MS: u64 = 60_000;
/// Interval at which a waiting update checks again, in milliseconds.
const LOOK_AGAIN_MS: u64 = 30_000;

/// State machine of updates; see [`Machine::handle`].
#[derive(Debug, Clone)]
pub struct Machine {
    memory: Memory,
    trial: trial::Trial,
    /// Moment up to which the update's time is counted, in milliseconds of the growing clock.
    counted_ms: u64,
    corrupt: u32,
    failures: u32,
    /// Engines that the agent carries.
    own_engines: Vec<EngineFact>,
}

impl Machine {
    /// Returns a machine with the journal's content; its first event is [`Event::Boot`].
    #[must_use]
    pub fn new(memory: Memory) -> Self {
        Self {
            memory,
            trial: trial::Trial::default(),
            counted_ms: 0,
            corrupt: 0,
            failures: 0,
            own_engines: Vec::new(),
        }
    }

    /// Sets the engines that the agent carries.
    #[must_use]
    pub fn with_own_engines(mut self, engines: Vec<EngineFact>) -> Self {
        self.own_engines = engines;
        self
    }

    /// Returns what must survive a restart.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Handles an event. Returns the effects to perform, in order; an effect that fails ends the list.
    ///
    /// ```
    /// use iottly_update::{Effect, Event, Machine, Memory, Now, Running, Start};
    ///
    /// let mut machine = Machine::new(Memory::default());
    /// let now = Now { unix: 1_800_000_000, clock_trusted: true, mono_ms: 0 };
    /// let effects = machine.handle(Event::Boot { pointer: Running::Factory, engine: None }, now);
    /// assert_eq!(effects, [Effect::Start(Start::unwatched(Running::Factory))]);
    /// ```
    pub fn handle(&mut self, event: Event, now: Now) -> Vec<Effect> {
        let mut out = Vec::new();
        if matches!(event, Event::Boot { .. }) {
            // The growing clock has a new start.
            self.counted_ms = now.mono_ms;
        }
        self.count(now);
        match event {
            Event::Boot { pointer, engine } => self.boot(pointer, engine, now, &mut out),
            Event::Vouched(vouched) => self.vouched(vouched, &mut out),
            Event::SlotDamaged(slot) => self.slot_damaged(slot, now, &mut out),
            Event::Offer(offer) => self.offer(offer, now, &mut out),
            Event::Reported => {
                if self.memory.last.take().is_some() {
                    out.push(Effect::Journal(Box::new(self.memory.clone())));
                }
            }
            other => self.step(other, now, &mut out),
        }
        out
    }

    fn boot(&mut self, pointer: Running, engine: Option<String>, now: Now, out: &mut Vec<Effect>) {
        let home = self.memory.home();
        if let Some(outcome) = &self.memory.last {
            out.push(Effect::Report(ended(outcome)));
        }
        let Some(attempt) = &self.memory.attempt else {
            // A power cut after the last journal entry of a roll-back or before the first of a switch leaves
            // nothing to do.
            if pointer != home {
                out.push(Effect::Point(home));
            }
            return self.start_committed(engine, now, out);
        };
        let target = Running::Slot(attempt.slot);
        match attempt.state {
            Step::Switching if pointer == target => self.start_trial(now, out),
            Step::Trial => self.start_trial(now, out),
            Step::Committing => {
                out.push(Effect::Start(Start::unwatched(target)));
                self.enter(Step::Committing, now, out);
            }
            Step::RollingBack => self.enter(Step::RollingBack, now, out),
            state => {
                out.push(Effect::Start(self.memory.start_home()));
                let again = match state {
                    Step::Offered => Step::VerifyingMeta,
                    // The pointer did not move: the copy of the state may be old by now.
                    Step::Switching | Step::Armed | Step::Staged => Step::Armed,
                    other => other,
                };
                self.go(again, now, out);
            }
        }
    }

    fn offer(&mut self, offer: Offer, now: Now, out: &mut Vec<Effect>) {
        if offer.counter <= self.memory.counter {
            return;
        }
        if let Some(attempt) = &self.memory.attempt {
            if !attempt.state.is_cancellable() {
                // The update ends soon; the cloud sends the directive again after a later hello.
                return;
            }
            let (reason, detail) = match offer.action {
                Action::Cancel => (Reason::Cancelled, "withdrawn"),
                _ => (Reason::Superseded, "another directive came"),
            };
            self.memory.counter = offer.counter;
            self.finish(Ending::Cancelled, Some(refusal(reason, detail)), out);
        }
        self.memory.counter = offer.counter;
        if offer.action == Action::Cancel {
            out.push(Effect::Journal(Box::new(self.memory.clone())));
            return;
        }
        (self.corrupt, self.failures) = (0, 0);
        // A trial on another engine begins again at the next start, if it is the same release that runs then.
        self.memory.engine_trial = None;
        self.memory.attempt = Some(Attempt::new(offer, self.memory.free_slot(), now.unix));
        if self.runs_already() {
            return self.finish(Ending::Committed, None, out);
        }
        self.go(Step::Offered, now, out);
        self.go(Step::VerifyingMeta, now, out);
    }

    fn runs_already(&self) -> bool {
        let (Some(attempt), Some(committed)) = (&self.memory.attempt, &self.memory.committed) else {
            return false;
        };
        attempt.offer.sha256.eq_ignore_ascii_case(&committed.sha256)
    }

    fn step(&mut self, event: Event, now: Now, out: &mut Vec<Effect>) {
        let Some(state) = self.memory.attempt.as_ref().map(|attempt| attempt.state) else {
            return self.engine_step(event, now, out);
        };
        match (state, event) {
            (Step::VerifyingMeta, Event::MetaOk(release)) => {
                if let Some(engine) = &release.engine {
                    self.memory.reserve_engine(engine);
                }
                self.attempt().release = Some(release);
                self.go(Step::Preflight, now, out);
            }
            // The directive may be valid: that is known once the device has the time.
            (Step::VerifyingMeta, Event::Refused(why)) if why.reason == Reason::Clock => {
                self.retry(why, now, out)
            }
            (Step::VerifyingMeta | Step::Preflight, Event::Refused(why)) => {
                self.finish(Ending::Rejected, Some(why), out)
            }
            (Step::VerifyingMeta, Event::PartFailed { detail, .. }) => {
                self.retry(refusal(Reason::Unreachable, detail), now, out);
            }
            (Step::Preflight, Event::Room) => self.preflight(now, out),
            (Step::Downloading, Event::PartKept { complete: true }) => {
                self.go(Step::VerifyingImage, now, out)
            }
            (Step::Downloading, Event::PartKept { complete: false }) => {
                (self.corrupt, self.failures) = (0, 0);
                self.act(now, out);
            }
            (Step::Downloading, Event::PartFailed { corrupt, detail }) => {
                self.part_failed(corrupt, &detail, now, out)
            }
            (Step::VerifyingImage, Event::ImageOk(engine)) => {
                self.attempt().engine = engine;
                self.go(Step::Staged, now, out);
                self.go(Step::Armed, now, out);
            }
            (Step::VerifyingImage, Event::ImageBad(why)) => self.finish(Ending::Failed, Some(why), out),
            (Step::Armed, Event::Copied) => self.go(Step::Switching, now, out),
            (Step::Switching, Event::Switched) => self.start_trial(now, out),
            (Step::Trial, Event::Trapped(detail)) => {
                self.roll_back(refusal(Reason::CrashLoop, detail), now, out)
            }
            (Step::Trial, Event::Unhealthy(detail)) => {
                self.roll_back(refusal(Reason::Unhealthy, detail), now, out)
            }
            (Step::Trial, Event::Healthy) => {
                self.trial.healthy += 1;
                self.judge(now, out);
            }
            (Step::Committing, Event::Done) => self.commit(out),
            (Step::RollingBack, Event::Done) => self.rolled_back(out),
            (_, Event::DiskFailed(detail)) if state.is_cancellable() => {
                self.finish(Ending::Failed, Some(refusal(Reason::NoSpace, detail)), out);
                if state == Step::Armed {
                    // The firmware was stopped for the copy.
                    out.push(Effect::Start(self.memory.start_home()));
                }
            }
            (_, Event::Tick) => self.tick(state, now, out),
            _ => {}
        }
    }

    fn tick(&mut self, state: Step, now: Now, out: &mut Vec<Effect>) {
        match state {
            Step::Trial => self.judge(now, out),
            Step::Committing | Step::RollingBack | Step::Switching => {}
            _ if self.is_overdue() => {
                let why = refusal(Reason::Timeout, format!("the deadline passed in {state}"));
                self.finish(Ending::Failed, Some(why), out);
            }
            Step::Deferred => self.wait(now, out),
            Step::VerifyingMeta | Step::Downloading => self.act(now, out),
            _ => {}
        }
    }

    /// Continues to wait, or proceeds. Nothing is written while the reason stays the same: a wait may last
    /// for hours.
    fn wait(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Some(why) = self.waits_for(now) else {
            return self.go(Step::Preflight, now, out);
        };
        if self
            .attempt()
            .why
            .as_ref()
            .is_some_and(|waits| waits.reason == why.reason)
        {
            return self.act(now, out);
        }
        self.attempt().why = Some(why);
        self.go(Step::Deferred, now, out);
    }

    /// Checks the window and the clock, after the free space.
    fn preflight(&mut self, now: Now, out: &mut Vec<Effect>) {
        match self.waits_for(now) {
            None => self.go(Step::Downloading, now, out),
            Some(why) => {
                self.attempt().why = Some(why);
                self.go(Step::Deferred, now, out);
            }
        }
    }

    fn part_failed(&mut self, corrupt: bool, detail: &str, now: Now, out: &mut Vec<Effect>) {
        if corrupt {
            self.corrupt += 1;
            if self.corrupt >= MAX_CORRUPT {
                return self.finish(Ending::Failed, Some(refusal(Reason::ChunkCorrupt, detail)), out);
            }
        }
        self.retry(refusal(Reason::Unreachable, detail), now, out);
    }

    /// Tries again, a little later each time, until the deadline.
    fn retry(&mut self, why: Refusal, now: Now, out: &mut Vec<Effect>) {
        self.failures = self.failures.saturating_add(1);
        let wait = 500u64
            .saturating_mul(1 << self.failures.min(7))
            .min(MAX_BACKOFF_MS);
        let attempt = self.attempt();
        // The deadline does not run while the device waits for the time.
        attempt.why = (why.reason == Reason::Clock).then(|| why.clone());
        let report = Progress {
            id: attempt.offer.id.clone(),
            sha256: attempt.offer.sha256.clone(),
            state: UpdateState::Underway(attempt.state),
            why: Some(why),
        };
        out.push(Effect::Report(report));
        out.push(Effect::WakeAt(now.mono_ms.saturating_add(wait)));
    }

    fn finish(&mut self, ending: Ending, why: Option<Refusal>, out: &mut Vec<Effect>) {
        let Some(attempt) = self.memory.attempt.take() else {
            return;
        };
        let outcome = Outcome {
            id: attempt.offer.id,
            sha256: attempt.offer.sha256,
            ending,
            why,
        };
        let report = ended(&outcome);
        self.memory.last = Some(outcome);
        self.memory.drop_engines();
        let kept = match ending {
            Ending::Committed => self.memory.reserve_own_engine(&self.own_engines),
            _ => None,
        };
        out.push(Effect::Journal(Box::new(self.memory.clone())));
        out.push(Effect::Report(report));
        out.push(Effect::CleanUp);
        out.extend(kept.map(Effect::KeepEngine));
    }

    /// Journals a step, then begins it.
    fn go(&mut self, state: Step, now: Now, out: &mut Vec<Effect>) {
        let attempt = self.attempt();
        attempt.state = state;
        attempt.writes += 1;
        if attempt.writes > MAX_WRITES {
            // A loop through the steps ends here; rolling back and committing do not loop.
            let why = refusal(
                Reason::Timeout,
                format!("{MAX_WRITES} steps did not finish the update"),
            );
            match state {
                Step::RollingBack | Step::Committing => {}
                Step::Trial | Step::Switching => {
                    attempt.why = Some(why);
                    attempt.state = Step::RollingBack;
                }
                _ => return self.finish(Ending::Failed, Some(why), out),
            }
        }
        let attempt = self.attempt();
        if !matches!(attempt.state, Step::Deferred | Step::RollingBack) {
            attempt.why = None;
        }
        let state = attempt.state;
        out.push(Effect::Journal(Box::new(self.memory.clone())));
        self.enter(state, now, out);
    }

    /// Begins a step that was journaled now or found in the journal.
    fn enter(&mut self, state: Step, now: Now, out: &mut Vec<Effect>) {
        let attempt = self.attempt();
        out.push(Effect::Report(Progress {
            id: attempt.offer.id.clone(),
            sha256: attempt.offer.sha256.clone(),
            state: UpdateState::Underway(state),
            why: attempt.why.clone(),
        }));
        self.act(now, out);
    }

    fn act(&mut self, now: Now, out: &mut Vec<Effect>) {
        let attempt = self.attempt();
        let slot = attempt.slot;
        match attempt.state {
            Step::Offered | Step::Staged => {}
            Step::VerifyingMeta => out.push(Effect::VerifyMeta(Box::new(attempt.offer.clone()))),
            Step::Preflight => {
                let release = self.release();
                let engine = release.engine.as_ref().map_or(0, |engine| engine.size);
                out.push(Effect::CheckRoom(release.size.saturating_add(engine)));
            }
            Step::Deferred => out.push(Effect::WakeAt(now.mono_ms.saturating_add(LOOK_AGAIN_MS))),
            Step::Downloading => out.push(Effect::FetchPart(Box::new(self.release().clone()), slot)),
            Step::VerifyingImage => out.push(Effect::CheckImage(Box::new(self.release().clone()), slot)),
            Step::Armed => out.push(Effect::CopyState),
            Step::Switching => out.push(Effect::Point(Running::Slot(slot))),
            Step::Trial => {
                let health = self.release().health;
                out.push(Effect::Start(Start {
                    trial: Some(health),
                    ..Start::unwatched(Running::Slot(slot))
                }));
                out.push(Effect::WakeAt(now.mono_ms.saturating_add(health.grace_ms)));
            }
            Step::Committing => out.push(Effect::CleanUp),
            Step::RollingBack => out.extend([
                Effect::Stop,
                Effect::Point(self.memory.home()),
                Effect::RestoreState,
            ]),
        }
    }

    /// Abandons a slot whose content is not what was verified.
    fn slot_damaged(&mut self, slot: Slot, now: Now, out: &mut Vec<Effect>) {
        let under_way = self
            .memory
            .attempt
            .as_ref()
            .filter(|attempt| attempt.slot == slot)
            .map(|attempt| attempt.state);
        if let Some(Step::Trial | Step::Committing) = under_way {
            let why = refusal(
                Reason::DigestMismatch,
                "the file of the release was damaged after it was verified",
            );
            return self.roll_back(why, now, out);
        }
        if self
            .memory
            .committed
            .take_if(|committed| committed.slot == slot)
            .is_some()
        {
            self.memory.engine_trial = None;
            out.push(Effect::Journal(Box::new(self.memory.clone())));
            if self
                .memory
                .attempt
                .as_ref()
                .is_none_or(|attempt| attempt.state.is_cancellable())
            {
                out.extend([
                    Effect::Point(Running::Factory),
                    Effect::Start(Start::unwatched(Running::Factory)),
                ]);
            }
        }
    }

    fn attempt(&mut self) -> &mut Attempt {
        self.memory
            .attempt
            .as_mut()
            .expect("only called while an update is under way")
    }

    fn release(&self) -> &Planned {
        let release = self
            .memory
            .attempt
            .as_ref()
            .and_then(|attempt| attempt.release.as_ref());
        release.expect("states behind verifying_meta have a release")
    }
}

fn ended(outcome: &Outcome) -> Progress {
    Progress {
        id: outcome.id.clone(),
        sha256: outcome.sha256.clone(),
        state: UpdateState::Ended(outcome.ending),
        why: outcome.why.clone(),
    }
}
