//! Deliveries of one webhook in this process: the claimed ones, the ones being sent, and the next one. Pure.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::model::{UnixMs, Webhook, WebhookState};
use crate::webhooks::breaker::{Admission, Breaker, Effect, Event};
use crate::webhooks::schedule;
use crate::webhooks::schedule::Outcome;
use crate::webhooks::slots::{PER_HOOK, PER_UNPROVEN_HOOK};
use crate::webhooks::target::Target;
use crate::webhooks::{Claim, Health};

/// Length of a lease: 15 s for the request, and time until it starts. In milliseconds.
pub const LEASE_MS: UnixMs = 60_000;
/// Remaining time of a lease below which its delivery is not started any more, in milliseconds.
const LEASE_REST_MS: UnixMs = 20_000;
/// Number of deliveries claimed at once from the store for an unproven receiver, and the maximum for a proven
/// one.
const CLAIM_FIRST: usize = 5;
const CLAIM_MOST: usize = 256;
/// Number of undecidable messages in a row after which the webhook is disabled.
const UNDECIDABLE_AT: u32 = 10;
/// Approximate size of messages that are claimed at once, in bytes.
const CLAIM_BYTES: usize = 1 << 20;

/// State of a webhook's deliveries in this process.
pub struct Lane {
    /// Time of the last change of the webhook.
    changed: UnixMs,
    /// Receiver of the requests, with its secrets unsealed.
    pub target: Arc<Target>,
    /// Configuration of the webhook.
    pub hook: Arc<Webhook>,
    /// Circuit breaker of the receiver.
    pub breaker: Breaker,
    /// Number of requests in progress.
    pub running: usize,
    /// True while a claim is in progress.
    claiming: bool,
    /// True if the store may have deliveries that are due.
    pub more: bool,
    /// True while the webhook is queued for a slot.
    pub in_line: bool,
    buffer: VecDeque<Claim>,
    held_until: UnixMs,
    failing_since: Option<UnixMs>,
    /// Time of the last failure.
    failed_at: Option<UnixMs>,
    /// Number of messages in a row whose filter could not be evaluated.
    undecidable: u32,
    proven: bool,
    window: usize,
    /// Mean size of the messages in the last claim, in bytes.
    mean: usize,
    paused_until: UnixMs,
}

impl Lane {
    /// Creates the lane of a webhook, with the health that is stored; assumes that deliveries are due.
    pub fn new(target: Target, state: &WebhookState) -> Self {
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

    /// Applies the current configuration of the webhook. After a change, earlier failures do not count any
    /// more, because the change may have fixed their cause.
    pub fn renew(&mut self, target: Target, state: &WebhookState) {
        (self.target, self.more) = (Arc::new(target), true);
        if state.hook.changed != self.changed {
            (self.changed, self.paused_until, self.failing_since) =
                (state.hook.changed, 0, state.queue.failing_since);
            self.breaker = Breaker::kept(state.queue.failures, state.queue.probe_at);
            (self.hook, self.failed_at, self.undecidable) = (Arc::new(state.hook.clone()), None, 0);
        }
    }

    /// Returns true if the lane can be removed without losing state.
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

    /// Returns true if the receiver accepted the request that ended last; more requests to such a receiver
    /// may run at the same time.
    pub fn is_proven(&self) -> bool {
        self.proven
    }

    /// Returns the number of claimed deliveries that wait to be sent.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Returns the health of the receiver, as it is stored with each outcome.
    pub fn health(&self) -> Health {
        Health {
            failures: self.breaker.failures(),
            probe_at: self.breaker.probe_at(),
            failing_since: self.failing_since,
        }
    }

    /// Returns the maximum number of simultaneous requests at present; the flag is true when that one is a
    /// probe.
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

    /// Returns the next delivery to send, if one may be sent now; the flag is true when it is a probe.
    pub fn next(&mut self, now: UnixMs) -> Option<(Claim, bool)> {
        let (most, probe) = self.allowance(now);
        if self.running >= most {
            return None;
        }
        // Also when the clock was set back since, because then the age of the leases is unknown.
        if now > self.held_until - LEASE_REST_MS || self.held_until > now + LEASE_MS {
            // Their leases expire, and then they are claimed again.
            self.more |= !self.buffer.is_empty();
            self.buffer.clear();
        }
        let claim = self.buffer.pop_front()?;
        if probe {
            self.breaker.handle(Event::Probing, now);
        }
        Some((claim, probe))
    }

    /// Puts a delivery back for which no slot was free.
    pub fn put_back(&mut self, claim: Claim, probe: bool, now: UnixMs) {
        if probe {
            self.breaker.handle(Event::ProbeWithdrawn, now);
        }
        self.buffer.push_front(claim);
    }

    /// Returns the number of deliveries to claim now.
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

    /// Records that a claim has started: new announcements from here on require another claim.
    pub fn asks(&mut self) {
        (self.claiming, self.more) = (true, false);
    }

    /// Takes claimed deliveries; `full` means that there may be more.
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

    /// Records the end of an attempt. Returns the changes of the breaker, and the deliveries to give back.
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

    /// Returns true if the receiver has only failed for too long.
    pub fn gives_up(&self, now: UnixMs) -> bool {
        self.failing_since
            .is_some_and(|since| schedule::gives_up(since, now))
    }

    /// Records how many filters could be evaluated; returns true when too many in a row could not.
    pub fn evaluated(&mut self, decided: usize, undecidable: usize) -> bool {
        if decided > 0 {
            self.undecidable = 0;
        }
        self.undecidable = self
            .undecidable
            .saturating_add(u32::try_from(undecidable).unwrap_or(u32::MAX));
        self.undecidable >= UNDECIDABLE_AT
    }

    /// Removes and returns all buffered deliveries.
    pub fn drain(&mut self) -> Vec<Claim> {
        self.buffer.drain(..).collect()
    }
}

#[cfg(test)]
mod tests;
