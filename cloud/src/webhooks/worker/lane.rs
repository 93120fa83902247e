//! The deliveries of one hook: what is claimed, what is under way, and what may go next. Pure.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::model::{HookState, UnixMs};
use crate::store::webhooks::{Claim, Health};
use crate::webhooks::breaker::{Admission, Breaker, Effect, Event};
use crate::webhooks::schedule::{self, Outcome};
use crate::webhooks::slots::{PER_HOOK, PER_UNPROVEN_HOOK};
use crate::webhooks::target::Target;

/// How long a claim lasts: a request's 15 s, and time to get to it.
pub(super) const LEASE_MS: UnixMs = 60_000;
/// A claimed delivery is not begun when its lease ends within this time.
const LEASE_REST_MS: UnixMs = 20_000;
/// Deliveries claimed at a time from a receiver that is not proven, and at most.
const CLAIM_FIRST: usize = 5;
const CLAIM_MOST: usize = 256;
/// Bytes of messages that are claimed at a time, about.
const CLAIM_BYTES: usize = 1 << 20;

/// The state of a hook's deliveries in this process.
pub(super) struct Lane {
    /// When the hook was changed last.
    changed: UnixMs,
    pub(super) target: Arc<Target>,
    pub(super) breaker: Breaker,
    /// Requests under way.
    pub(super) running: usize,
    /// Whether the store is being asked for deliveries.
    claiming: bool,
    /// Whether the store may have something due.
    pub(super) more: bool,
    /// Whether it is in the line for a place.
    pub(super) in_line: bool,
    buffer: VecDeque<Claim>,
    held_until: UnixMs,
    failing_since: Option<UnixMs>,
    proven: bool,
    window: usize,
    /// Bytes of a message, the mean of the last claim.
    mean: usize,
    paused_until: UnixMs,
}

impl Lane {
    pub(super) fn new(target: Target, state: &HookState) -> Self {
        let queue = &state.queue;
        Self {
            changed: state.hook.changed,
            target: Arc::new(target),
            breaker: Breaker::kept(queue.failures, queue.probe_at),
            running: 0,
            claiming: false,
            more: true,
            in_line: false,
            buffer: VecDeque::new(),
            held_until: 0,
            failing_since: queue.failing_since,
            proven: false,
            window: CLAIM_FIRST,
            mean: CLAIM_BYTES / CLAIM_FIRST,
            paused_until: 0,
        }
    }

    /// Takes in the hook as it is now. Who changed it has mended something: failures of before count no more.
    pub(super) fn renew(&mut self, target: Target, state: &HookState) {
        (self.target, self.more) = (Arc::new(target), true);
        if state.hook.changed != self.changed {
            (self.changed, self.paused_until, self.failing_since) = (state.hook.changed, 0, state.queue.failing_since);
            self.breaker = Breaker::kept(state.queue.failures, state.queue.probe_at);
        }
    }

    /// Says whether nothing would be lost with it.
    pub(super) fn is_idle(&self, now: UnixMs) -> bool {
        let healthy = self.breaker.failures() == 0;
        healthy
            && self.running == 0
            && self.buffer.is_empty()
            && !self.claiming
            && !self.more
            && !self.in_line
            && now >= self.paused_until
    }

    pub(super) fn is_proven(&self) -> bool {
        self.proven
    }

    pub(super) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    pub(super) fn health(&self) -> Health {
        Health { failures: self.breaker.failures(), probe_at: self.breaker.probe_at(), failing_since: self.failing_since }
    }

    /// Most requests at a time as things are; 0 for none. The flag says that the one is a probe.
    fn allowance(&self, now: UnixMs) -> (usize, bool) {
        if now < self.paused_until {
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
    pub(super) fn next(&mut self, now: UnixMs) -> Option<(Claim, bool)> {
        let (most, probe) = self.allowance(now);
        if self.running >= most {
            return None;
        }
        if now > self.held_until - LEASE_REST_MS {
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
    pub(super) fn put_back(&mut self, claim: Claim, probe: bool, now: UnixMs) {
        if probe {
            self.breaker.handle(Event::ProbeWithdrawn, now);
        }
        self.buffer.push_front(claim);
    }

    /// How many deliveries to claim now; 0 for none.
    pub(super) fn wanted(&self, now: UnixMs) -> usize {
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
        if self.buffer.len() > self.window / 2 { 0 } else { self.window.min(CLAIM_BYTES / self.mean.max(1)).max(1) }
    }

    /// The store is asked now: what it tells of from here on is new.
    pub(super) fn asks(&mut self) {
        (self.claiming, self.more) = (true, false);
    }

    /// Takes in what was claimed; `full` says that there may be more.
    pub(super) fn claimed(&mut self, claims: Vec<Claim>, full: bool, until: UnixMs) {
        self.claiming = false;
        self.more |= full;
        if claims.is_empty() {
            return;
        }
        let bytes: usize = claims.iter().filter_map(|claim| Some(claim.body.as_ref()?.payload.get().len())).sum();
        self.mean = (bytes / claims.len()).max(64);
        self.held_until = if self.buffer.is_empty() { until } else { self.held_until.min(until) };
        self.buffer.extend(claims);
        self.window = if self.proven { (self.window * 2).min(CLAIM_MOST) } else { CLAIM_FIRST };
    }

    /// Takes in how an attempt ended; what is in the buffer no more has to be given back.
    pub(super) fn ended(
        &mut self,
        outcome: Outcome,
        began: UnixMs,
        retry_after: Option<UnixMs>,
        now: UnixMs,
    ) -> (Vec<Effect>, Vec<Claim>) {
        self.running -= 1;
        let effects = if outcome.is_success() {
            (self.proven, self.failing_since) = (true, None);
            self.breaker.handle(Event::Succeeded, now)
        } else {
            (self.proven, self.window) = (false, CLAIM_FIRST);
            self.failing_since.get_or_insert(began);
            self.breaker.handle(Event::Failed, now)
        };
        let pause = schedule::pause(outcome, retry_after, now);
        self.paused_until = self.paused_until.max(pause.unwrap_or_default());
        let stops = pause.is_some() || effects.contains(&Effect::Opened) || self.target.ordered && !outcome.is_success();
        (effects, if stops { self.drain() } else { Vec::new() })
    }

    /// Whether its receiver has only failed for too long.
    pub(super) fn gives_up(&self, now: UnixMs) -> bool {
        self.failing_since.is_some_and(|since| schedule::gives_up(since, now))
    }

    /// Empties the buffer.
    pub(super) fn drain(&mut self) -> Vec<Claim> {
        self.buffer.drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use iottly_protocol::{DeviceId, MessageKind, ProjectId};
    use serde_json::value::RawValue;

    use super::*;
    use crate::model::{HookKey, HookKind, HookQueue, MessageId, Scope, StoredMessage, Webhook, WebhookId};
    use crate::seal::{SealKey, Sealed};
    use crate::webhooks::guard::Guard;
    use crate::webhooks::sign::Secret;
    use crate::webhooks::{sealed_headers, sealed_secret};

    fn lane(ordered: bool) -> Lane {
        let (seal, id) = (SealKey::new(&[1; 32]).expect("a key"), WebhookId::random());
        let hook = Webhook {
            key: HookKey { project: ProjectId::from_bytes([1; 12]), hook: id },
            description: String::new(),
            url: "https://example.com/".into(),
            kind: HookKind::All,
            channel: None,
            filter: None,
            payload_only: false,
            ordered,
            enabled: true,
            reason: String::new(),
            headers: sealed_headers(&seal, id, &Vec::new()).expect("sealed"),
            secret: sealed_secret(&seal, id, &Secret::random().expect("randomness")).expect("sealed"),
            former: None,
            created: 0,
            changed: 0,
        };
        assert_ne!(hook.headers, Sealed(Vec::new()));
        let target = Target::open(&hook, &seal, &Guard::new(Vec::new(), false)).expect("opens");
        Lane::new(target, &HookState { hook, queue: HookQueue::default() })
    }

    fn claims(count: u8, bytes: usize) -> Vec<Claim> {
        let claim = |n: u8| {
            let (message, device) = (MessageId([n; 12]), DeviceId::from_bytes([1; 16]));
            let body = StoredMessage {
                id: message,
                scope: Scope { project: ProjectId::from_bytes([1; 12]), device },
                kind: MessageKind::UserDefined,
                timestamp: 0,
                device_timestamp: 0,
                channel: None,
                payload: RawValue::from_string(format!("\"{}\"", "x".repeat(bytes))).expect("JSON"),
                origin: None,
            };
            Claim { message, device, timestamp: 0, attempts: 0, body: Some(body) }
        };
        (0..count).map(claim).collect()
    }

    /// Begins what may begin; returns how many.
    fn begin(lane: &mut Lane, now: UnixMs) -> usize {
        let began = std::iter::repeat_with(|| {
            let next = lane.next(now);
            lane.running += usize::from(next.is_some());
            next
        });
        began.take_while(Option::is_some).count()
    }

    #[test]
    fn a_receiver_gets_more_once_it_has_answered() {
        let mut lane = lane(false);
        assert_eq!(lane.wanted(0), CLAIM_FIRST);
        lane.asks();
        assert_eq!(lane.wanted(0), 0, "one question at a time");
        lane.claimed(claims(100, 10), true, LEASE_MS);
        assert_eq!(begin(&mut lane, 0), PER_UNPROVEN_HOOK);
        let (effects, back) = lane.ended(Outcome::Answered(200), 0, None, 0);
        assert!(effects.is_empty() && back.is_empty());
        assert_eq!(begin(&mut lane, 0), PER_HOOK - 1);
        lane.ended(Outcome::Answered(500), 0, None, 0);
        assert_eq!(begin(&mut lane, 0), 0, "until it fails");
    }

    #[test]
    fn claims_grow_with_a_receiver_that_keeps_up_and_shrink_with_large_messages() {
        let mut lane = lane(false);
        let mut wanted = Vec::new();
        for _ in 0..8 {
            wanted.push(lane.wanted(0));
            lane.asks();
            lane.claimed(claims(1, 100), true, LEASE_MS);
            begin(&mut lane, 0);
            lane.ended(Outcome::Answered(200), 0, None, 0);
        }
        assert_eq!(wanted, [5, 5, 10, 20, 40, 80, 160, 256]);
        lane.asks();
        lane.claimed(claims(1, 1 << 19), true, LEASE_MS);
        begin(&mut lane, 0);
        assert_eq!(lane.wanted(0), 1);
    }

    #[test]
    fn order_means_one_at_a_time_and_nothing_behind_a_failure() {
        let mut lane = lane(true);
        lane.asks();
        lane.claimed(claims(5, 10), true, LEASE_MS);
        assert_eq!((begin(&mut lane, 0), lane.wanted(0)), (1, 0));
        lane.ended(Outcome::Answered(200), 0, None, 0);
        assert_eq!(begin(&mut lane, 0), 1);
        let (_, back) = lane.ended(Outcome::Unanswered, 0, None, 0);
        let back: Vec<_> = back.iter().map(|claim| claim.message.0[0]).collect();
        assert_eq!((back, lane.buffered()), (vec![2, 3, 4], 0));
    }

    #[test]
    fn what_is_claimed_is_not_begun_when_its_lease_ends() {
        let mut lane = lane(false);
        lane.asks();
        lane.claimed(claims(5, 10), false, LEASE_MS);
        let late = LEASE_MS - LEASE_REST_MS + 1;
        assert_eq!((begin(&mut lane, late), lane.buffered()), (0, 0));
        assert!(lane.wanted(late) > 0, "it is claimed again");
    }

    #[test]
    fn an_open_breaker_lets_one_probe_through() {
        let mut lane = lane(false);
        lane.asks();
        lane.claimed(claims(30, 10), true, LEASE_MS);
        let mut back = Vec::new();
        while back.is_empty() {
            begin(&mut lane, 0);
            back = lane.ended(Outcome::Answered(500), 0, None, 0).1;
        }
        while lane.running > 0 {
            lane.ended(Outcome::Answered(500), 0, None, 0);
        }
        assert_eq!((lane.wanted(29_999), lane.wanted(30_000)), (0, 1));
        lane.asks();
        lane.claimed(claims(1, 10), true, 30_000 + LEASE_MS);
        assert!(lane.next(30_000).is_some_and(|(_, probe)| probe));
        lane.running = 1;
        assert_eq!(lane.wanted(30_000), 0);
        lane.ended(Outcome::Answered(200), 30_000, None, 30_000);
        assert_eq!((lane.breaker.probe_at(), lane.health().failing_since), (None, None));
    }
}
