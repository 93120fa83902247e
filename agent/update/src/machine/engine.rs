//! The committed script on another engine than the one it was committed on: a trial without a directive.

use iottly_protocol::release::{Ending, Reason, Refusal, UpdateState};

use super::trial::{LATE_ANSWERS, Trial};
use super::{MAX_BOOTS, Machine};
use crate::engines::EngineTrial;
use crate::event::{Effect, Event, Now, Progress, refusal};
use crate::slot::Start;

impl Machine {
    /// Starts the committed firmware. `engine` is what its script would run on now: if the script was committed on
    /// another engine and has not failed on this one, it is watched.
    pub(super) fn start_committed(&mut self, engine: Option<String>, now: Now, out: &mut Vec<Effect>) {
        let begun = self.memory.engine_trial.take();
        let (Some(committed), Some(engine)) = (self.memory.committed.as_mut(), engine) else {
            return out.push(Effect::Start(self.memory.start_home()));
        };
        let health = committed.health;
        match &committed.engine {
            // The journal was lost, or the release is older than this record.
            None => {
                committed.engine = Some(engine);
                self.journal(out);
                out.push(Effect::Start(self.memory.start_home()));
                return self.keep_engine(out);
            }
            Some(earlier) if *earlier == engine => {
                if begun.is_some() {
                    self.journal(out);
                }
                out.push(Effect::Start(self.memory.start_home()));
                return self.keep_engine(out);
            }
            Some(_) if committed.refused_engine.as_ref() == Some(&engine) => {
                return out.push(Effect::Start(self.memory.start_home()));
            }
            Some(_) => {}
        }
        let boots = begun
            .filter(|trial| trial.engine == engine)
            .map_or(0, |trial| trial.boots)
            + 1;
        self.memory.engine_trial = Some(EngineTrial { engine, boots });
        if boots > MAX_BOOTS {
            let detail = format!("the board restarted {MAX_BOOTS} times in the trial");
            return self.engine_failed(&refusal(Reason::CrashLoop, detail), out);
        }
        self.trial = Trial {
            since_ms: now.mono_ms,
            healthy: 0,
        };
        self.journal(out);
        out.push(Effect::Start(Start {
            trial: Some(health),
            ..Start::unwatched(self.memory.home())
        }));
        out.push(Effect::WakeAt(now.mono_ms.saturating_add(health.grace_ms)));
    }

    /// Handles an event while no update is under way.
    pub(super) fn engine_step(&mut self, event: Event, now: Now, out: &mut Vec<Effect>) {
        if self.memory.engine_trial.is_none() {
            return;
        }
        match event {
            Event::Healthy => {
                self.trial.healthy += 1;
                self.judge_engine(now, out);
            }
            Event::Tick => self.judge_engine(now, out),
            Event::Trapped(detail) => self.engine_failed(&refusal(Reason::CrashLoop, detail), out),
            Event::Unhealthy(detail) => self.engine_failed(&refusal(Reason::Unhealthy, detail), out),
            _ => {}
        }
    }

    /// Ends the trial once its time is over.
    fn judge_engine(&mut self, now: Now, out: &mut Vec<Effect>) {
        let (Some(committed), Some(trial)) = (&mut self.memory.committed, &self.memory.engine_trial) else {
            return;
        };
        let health = committed.health;
        let passed = now.mono_ms.saturating_sub(self.trial.since_ms);
        if passed < health.grace_ms {
            return;
        }
        if self.trial.healthy >= health.min_ok {
            committed.engine = Some(trial.engine.clone());
            committed.refused_engine = None;
            self.memory.engine_trial = None;
            self.memory.drop_engines();
            let kept = self.memory.reserve_own_engine(&self.own_engines);
            self.journal(out);
            out.push(Effect::CleanUp);
            return out.extend(kept.map(Effect::KeepEngine));
        }
        let longest = health.grace_ms.saturating_mul(LATE_ANSWERS);
        if passed < longest {
            return out.push(Effect::WakeAt(self.trial.since_ms.saturating_add(longest)));
        }
        let detail = format!(
            "healthy {} of {} times in {passed} ms",
            self.trial.healthy, health.min_ok
        );
        self.engine_failed(&refusal(Reason::Unhealthy, detail), out);
    }

    /// Goes back to the engine on which the script was committed, if the device still has it, and reports the failure.
    fn engine_failed(&mut self, why: &Refusal, out: &mut Vec<Effect>) {
        let (Some(committed), Some(trial)) = (&mut self.memory.committed, self.memory.engine_trial.take())
        else {
            return;
        };
        let sha256 = committed.sha256.clone();
        committed.refused_engine = Some(trial.engine.clone());
        self.journal(out);
        let start = self.memory.start_home();
        let (ending, consequence) = match &start.engine {
            Some(engine) => (
                Ending::RolledBack,
                format!("it runs on the former engine {engine} again"),
            ),
            None => (
                Ending::Failed,
                "the device has no older engine, so it keeps running on this one".to_owned(),
            ),
        };
        out.push(Effect::Report(Progress {
            id: String::new(),
            sha256,
            state: UpdateState::Ended(ending),
            why: Some(Refusal {
                reason: why.reason,
                detail: format!(
                    "the script failed on the new engine {}: {}; {consequence}",
                    trial.engine, why.detail
                ),
            }),
        }));
        out.push(Effect::Start(start));
    }

    /// Keeps a copy of the engine that the committed script runs on, if the agent carries it.
    fn keep_engine(&mut self, out: &mut Vec<Effect>) {
        let before = self.memory.engines.len();
        let Some(kept) = self.memory.reserve_own_engine(&self.own_engines) else {
            return;
        };
        if self.memory.engines.len() > before {
            self.journal(out);
        }
        out.push(Effect::KeepEngine(kept));
    }

    fn journal(&self, out: &mut Vec<Effect>) {
        out.push(Effect::Journal(Box::new(self.memory.clone())));
    }
}
