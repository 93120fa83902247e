//! The trial of a release: start, verdict, commit and roll-back.

use iottly_protocol::release::{Ending, Reason, Refusal, Step};

use super::{MAX_BOOTS, Machine};
use crate::event::{Effect, Now, refusal};
use crate::memory::{Committed, MAX_QUARANTINED};

/// Number of grace periods that a trial may last if the answers about its health are late.
pub(super) const LATE_ANSWERS: u64 = 4;

/// Observations of a trial since its start; a restart of the board begins them again.
#[derive(Debug, Clone, Default)]
pub(super) struct Trial {
    pub(super) since_ms: u64,
    pub(super) healthy: u32,
}

impl Machine {
    /// Starts the new release under watch. The start is counted before it happens.
    pub(super) fn start_trial(&mut self, now: Now, out: &mut Vec<Effect>) {
        let attempt = self.attempt();
        attempt.boots += 1;
        if attempt.boots > MAX_BOOTS {
            let why = refusal(
                Reason::CrashLoop,
                format!("the board restarted {MAX_BOOTS} times in the trial"),
            );
            return self.roll_back(why, now, out);
        }
        self.trial = Trial {
            since_ms: now.mono_ms,
            healthy: 0,
        };
        self.go(Step::Trial, now, out);
    }

    /// Ends the trial once its time is over.
    pub(super) fn judge(&mut self, now: Now, out: &mut Vec<Effect>) {
        let health = self.release().health;
        let passed = now.mono_ms.saturating_sub(self.trial.since_ms);
        if passed < health.grace_ms {
            return;
        }
        if self.trial.healthy >= health.min_ok {
            return self.go(Step::Committing, now, out);
        }
        // A busy board answers late, and a firmware may take longer to become healthy. Nothing has trapped so
        // far, or the trial would be over.
        let longest = health.grace_ms.saturating_mul(LATE_ANSWERS);
        if passed < longest {
            return out.push(Effect::WakeAt(self.trial.since_ms.saturating_add(longest)));
        }
        let detail = format!(
            "healthy {} of {} times in {passed} ms",
            self.trial.healthy, health.min_ok
        );
        self.roll_back(refusal(Reason::Unhealthy, detail), now, out);
    }

    pub(super) fn roll_back(&mut self, why: Refusal, now: Now, out: &mut Vec<Effect>) {
        self.attempt().why = Some(why);
        self.go(Step::RollingBack, now, out);
    }

    pub(super) fn commit(&mut self, out: &mut Vec<Effect>) {
        let slot = self.attempt().slot;
        let release = self.release().clone();
        self.memory.floor = self.memory.floor.max(release.security_floor);
        self.memory.quarantined.retain(|digest| *digest != release.sha256);
        self.memory.committed = Some(Committed {
            slot,
            sha256: release.sha256,
            release_seq: release.release_seq,
            data_schema: release.data_schema,
            engine: self.attempt().engine.clone(),
            refused_engine: None,
            health: release.health,
        });
        self.finish(Ending::Committed, None, out);
    }

    pub(super) fn rolled_back(&mut self, out: &mut Vec<Effect>) {
        let attempt = self.attempt();
        let sha256 = attempt.offer.sha256.to_ascii_lowercase();
        let why = attempt.why.clone();
        // A damaged copy says nothing about the release.
        if why
            .as_ref()
            .is_none_or(|why| why.reason != Reason::DigestMismatch)
        {
            self.memory.quarantined.retain(|digest| *digest != sha256);
            self.memory.quarantined.push(sha256);
        }
        let excess = self.memory.quarantined.len().saturating_sub(MAX_QUARANTINED);
        self.memory.quarantined.drain(..excess);
        self.finish(Ending::RolledBack, why, out);
        // Only now: a repetition of the step must not take back what the former firmware writes from here on.
        out.push(Effect::Start(self.memory.start_home()));
    }
}
