//! The deliveries of one hook: what is claimed, what is under way, and what may go next. Pure.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::model::{HookState, UnixMs, Webhook};
use crate::webhooks::breaker::{Admission, Breaker, Effect, Event};
use crate::webhooks::schedule;
use crate::webhooks::schedule::Outcome;
use crate::webhooks::slots::{PER_HOOK, PER_UNPROVEN_HOOK};
use crate::webhooks::target::Target;
use crate::webhooks::{Claim, Health};

/// How long a claim lasts: a request's 15 s, and time to get to it.
pub const LEASE_MS: UnixMs = 60_000;
/// A claimed delivery is not begun when its lease ends within this time.
const LEASE_REST_MS: UnixMs = 20_000;
/// Deliveries claimed at a time from a receiver that is not proven, and at most.
const CLAIM_FIRST: usize = 5;
const CLAIM_MOST: usize = 256;
/// Messages in a row whose filter cannot be evaluated, after which the hook is switched off.
const UNDECIDABLE_AT: u32 = 10;
/// Bytes of messages that are claimed at a time, about.
const CLAIM_BYTES: usize = 1 << 20;

/// The state of a hook's deliveries in this process.
pub struct Lane {
    /// When the hook was changed last.
    changed: UnixMs,
    pub target: Arc<Target>,
    /// The hook as it is configured.
    pub hook: Arc<Webhook>,
    pub breaker: Breaker,
    /// Requests under way.
    pub running: usize,
    /// Whether the store is being asked for deliveries.
    claiming: bool,
    /// Whether the store may have something due.
    pub more: bool,
    /// Whether it is in the line for a place.
    pub in_line: bool,
    buffer: VecDeque<Claim>,
    held_until: UnixMs,
    failing_since: Option<UnixMs>,
    /// Moment of the last failure.
    failed_at: Option<UnixMs>,
    /// Messages in a row whose filter could not be evaluated.
    undecidable: u32,
    proven: bool,
    window: usize,
    /// Bytes of a message, the mean of the last claim.
    mean: usize,
    paused_until: UnixMs,
}

impl Lane {
    pub fn new(target: Target, state: &HookState) -> Self {
        let queue = &state.queue;
        Self {
            changed: state.hook.changed,
            target: Arc::new(target),
            hook: Arc::new(state.hook.clone()),
            breaker: Breaker::kept(queue.failures, queue.probe_at),
            running: 0,
            claiming: false,
            more: true,
            in_line: false,
            buffer: VecDeque::new(),
            held_until: 0,
            failing_since: queue.failing_since,
            failed_at: None,
            undecidable: 0,
            proven: false,
            window: CLAIM_FIRST,
            mean: CLAIM_BYTES / CLAIM_FIRST,
            paused_until: 0,
        }
    }

    /// Takes in the hook as it is now. Who changed it has mended something: failures of before count no more.
    pub fn renew(&mut self, target: Target, state: &HookState) {
        (self.target, self.more) = (Arc::new(target), true);
        if state.hook.changed != self.changed {
            (self.changed, self.paused_until, self.failing_since) =
                (state.hook.changed, 0, state.queue.failing_since);
            self.breaker = Breaker::kept(state.queue.failures, state.queue.probe_at);
            (self.hook, self.failed_at, self.undecidable) = (Arc::new(state.hook.clone()), None, 0);
        }
    }

    /// Says whether nothing would be lost with it.
    pub fn is_idle(&self, now: UnixMs) -> bool {
        let healthy = self.breaker.failures() == 0;
        healthy
            && self.running == 0
            && self.buffer.is_empty()
            && !self.claiming
            && !self.more
            && !self.in_line
            && self.undecidable == 0
            && !schedule::waits(self.paused_until, now)
    }

    pub fn is_proven(&self) -> bool {
        self.proven
    }

    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    pub fn health(&self) -> Health {
        Health {
            failures: self.breaker.failures(),
            probe_at: self.breaker.probe_at(),
            failing_since: self.failing_since,
        }
    }

    /// Most requests at a time as things are; 0 for none. The flag says that the one is a probe.
    fn allowance(&self, now: UnixMs) -> (usize, bool) {
        if schedule::waits(self.paused_until, now) {
            return (0, false);
        }
        match self.breaker.admits(now) {
            Admission::Nothing => (0, false),
            Admission::Probe => (1, true),
            Admission::Everything if self.target.ordered => (1, false),
            Admission::Everything => (if self.proven { PER_HOOK } else { PER_UNPROVEN_HOOK }, false),
        }
    }

    /// The next delivery to begin, if one may begin now; true when it is a probe.
    pub fn next(&mut self, now: UnixMs) -> Option<(Claim, bool)> {
        let (most, probe) = self.allowance(now);
        if self.running >= most {
            return None;
        }
        // Also when the clock was set back since, and nobody knows how long they have been held.
        if now > self.held_until - LEASE_REST_MS || self.held_until > now + LEASE_MS {
            // Their leases end by themselves, and then they are claimed again.
            self.more |= !self.buffer.is_empty();
            self.buffer.clear();
        }
        let claim = self.buffer.pop_front()?;
        if probe {
            self.breaker.handle(Event::Probing, now);
        }
        Some((claim, probe))
    }

    /// Puts a delivery back that found no place.
    pub fn put_back(&mut self, claim: Claim, probe: bool, now: UnixMs) {
        if probe {
            self.breaker.handle(Event::ProbeWithdrawn, now);
        }
        self.buffer.push_front(claim);
    }

    /// How many deliveries to claim now; 0 for none.
    pub fn wanted(&self, now: UnixMs) -> usize {
        let (most, probe) = self.allowance(now);
        if most == 0 || self.claiming || !self.more {
            return 0;
        }
        if probe {
            return usize::from(self.buffer.is_empty());
        }
        if self.target.ordered && (self.running > 0 || !self.buffer.is_empty()) {
            return 0;
        }
        if self.buffer.len() > self.window / 2 {
            0
        } else {
            self.window.min(CLAIM_BYTES / self.mean.max(1)).max(1)
        }
    }

    /// The store is asked now: what it tells of from here on is new.
    pub fn asks(&mut self) {
        (self.claiming, self.more) = (true, false);
    }

    /// Takes in what was claimed; `full` says that there may be more.
    pub fn claimed(&mut self, claims: Vec<Claim>, full: bool, until: UnixMs) {
        self.claiming = false;
        self.more |= full;
        if claims.is_empty() {
            return;
        }
        let bytes: usize = claims
            .iter()
            .filter_map(|claim| Some(claim.body.as_ref()?.payload.get().len()))
            .sum();
        self.mean = (bytes / claims.len()).max(64);
        self.held_until = if self.buffer.is_empty() {
            until
        } else {
            self.held_until.min(until)
        };
        self.buffer.extend(claims);
        self.window = if self.proven {
            (self.window * 2).min(CLAIM_MOST)
        } else {
            CLAIM_FIRST
        };
    }

    /// Takes in how an attempt ended; what is in the buffer no more has to be given back.
    pub fn ended(
        &mut self,
        outcome: Outcome,
        began: UnixMs,
        retry_after: Option<UnixMs>,
        now: UnixMs,
    ) -> (Vec<Effect>, Vec<Claim>) {
        self.running -= 1;
        let effects = if outcome.is_success() {
            (self.proven, self.failing_since, self.failed_at) = (true, None, None);
            self.breaker.handle(Event::Succeeded, now)
        } else {
            (self.proven, self.window) = (false, CLAIM_FIRST);
            self.failing_since = Some(schedule::failing_since(
                self.failing_since,
                self.failed_at,
                began,
                now,
            ));
            self.failed_at = Some(now);
            self.breaker.handle(Event::Failed, now)
        };
        let pause = schedule::pause(outcome, retry_after, now);
        if let Some(pause) = pause {
            let pending = if schedule::waits(self.paused_until, now) {
                self.paused_until
            } else {
                0
            };
            self.paused_until = pause.max(pending);
        }
        let stops = pause.is_some()
            || effects.contains(&Effect::Opened)
            || self.target.ordered && !outcome.is_success();
        (effects, if stops { self.drain() } else { Vec::new() })
    }

    /// Whether its receiver has only failed for too long.
    pub fn gives_up(&self, now: UnixMs) -> bool {
        self.failing_since
            .is_some_and(|since| schedule::gives_up(since, now))
    }

    /// Takes in whether the filter of its messages could be evaluated; true when it could not for too many in
    /// a row.
    pub fn evaluated(&mut self, decided: usize, undecidable: usize) -> bool {
        if decided > 0 {
            self.undecidable = 0;
        }
        self.undecidable = self
            .undecidable
            .saturating_add(u32::try_from(undecidable).unwrap_or(u32::MAX));
        self.undecidable >= UNDECIDABLE_AT
    }

    /// Empties the buffer.
    pub fn drain(&mut self) -> Vec<Claim> {
        self.buffer.drain(..).collect()
    }
}

#[cfg(test)]
mod tests;
