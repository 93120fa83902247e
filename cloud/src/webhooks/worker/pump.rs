//! Task that claims deliveries and has them sent: one lane per webhook, slots shared by all. Outcomes are
//! written by the recorder.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use iottly_protocol::ProjectId;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tracing::{Instrument, Span};

use super::client::{self, Attempted, Client};
use super::decide::Decided;
use super::undecided::again;
use crate::clock::Clock;
use crate::fair_queue::FairQueue;
use crate::history_reader::filter_queue_limits;
use crate::metrics::Metrics;
use iottly_core::SealKey;
use iottly_core::model::{UnixMs, WebhookKey, WebhookState};
use iottly_core::webhooks::Claim;
use iottly_core::webhooks::guard::Guard;
use iottly_core::webhooks::lane::{LEASE_MS, Lane};
use iottly_core::webhooks::slots::{Slot, Slots};
use iottly_core::webhooks::target::Target;
use iottly_store as store;
use iottly_store::webhooks::{ClaimQuery, DeliveryResult, Disposition, WorkerId};
use iottly_store::{ChangeStore, WebhookStore};

/// Interval at which the store is asked for due deliveries: retries, and those that another process stored.
const POLL: Duration = Duration::from_secs(1);
/// Maximum number of webhooks with due deliveries that are read in one poll.
const POLLED: usize = 1000;
/// Maximum number of claimed deliveries in memory, of all webhooks.
const MAX_BUFFERED: usize = 4096;
/// Maximum numbers of webhooks that are read from the store at a time, and of claims at a time.
const MAX_READING: usize = 4;
const MAX_CLAIMING: usize = 8;

/// Dependencies of the pump.
pub(super) struct PumpParts {
    pub(super) store: Arc<dyn WebhookStore>,
    pub(super) changes: Arc<dyn ChangeStore>,
    pub(super) client: Arc<Client>,
    pub(super) seal: Arc<SealKey>,
    pub(super) guard: Guard,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
    pub(super) worker: WorkerId,
    pub(super) records: mpsc::Sender<DeliveryResult>,
}

/// State of all lanes and of the work in progress.
pub(super) struct Pump {
    pub(super) parts: PumpParts,
    pub(super) lanes: HashMap<WebhookKey, Lane>,
    pub(super) slots: Slots,
    /// Webhooks with deliveries to send or to claim that found no free slot.
    line: VecDeque<WebhookKey>,
    /// Webhooks to read from the store.
    unread: BTreeSet<WebhookKey>,
    running: JoinSet<Finished>,
    reading: JoinSet<StoreReply>,
    claiming: JoinSet<StoreReply>,
    pub(super) deciding: JoinSet<StoreReply>,
    pub(super) turns: FairQueue<ProjectId>,
    pub(super) disabling: JoinSet<()>,
    polling: bool,
}

/// Request that has ended.
pub(super) struct Finished {
    pub(super) key: WebhookKey,
    pub(super) slot: Slot,
    pub(super) claim: Claim,
    pub(super) probe: bool,
    pub(super) attempted: Attempted,
    /// Span of the attempt, which also covers the decision about the delivery.
    pub(super) span: Span,
}

/// Reply of the store.
pub(super) enum StoreReply {
    Hook(WebhookKey, Box<store::Result<Option<WebhookState>>>),
    Due(store::Result<Vec<WebhookState>>),
    Claims {
        key: WebhookKey,
        asked: usize,
        until: UnixMs,
        claims: store::Result<Vec<Claim>>,
    },
    Decided {
        key: WebhookKey,
        full: bool,
        until: UnixMs,
        decided: Decided,
    },
}

impl Pump {
    pub(super) fn new(parts: PumpParts) -> Self {
        Self {
            parts,
            lanes: HashMap::new(),
            slots: Slots::default(),
            line: VecDeque::new(),
            unread: BTreeSet::new(),
            running: JoinSet::new(),
            reading: JoinSet::new(),
            claiming: JoinSet::new(),
            deciding: JoinSet::new(),
            turns: FairQueue::new(filter_queue_limits()),
            disabling: JoinSet::new(),
            polling: false,
        }
    }

    /// Runs until it is stopped; then waits for the requests in progress, at most for `patience`, and gives
    /// back the remaining deliveries.
    pub(super) async fn run(
        mut self,
        mut changed: mpsc::Receiver<WebhookKey>,
        mut stop: oneshot::Receiver<()>,
        patience: Duration,
    ) {
        let pending = self.parts.store.pending_webhooks();
        let mut poll = tokio::time::interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = &mut stop => break,
                Some(finished) = self.running.join_next() => if let Ok(finished) = finished { self.finished(finished).await },
                Some(reply) = self.reading.join_next() => if let Ok(reply) = reply { self.on_reply(reply).await },
                Some(reply) = self.claiming.join_next() => if let Ok(reply) = reply { self.on_reply(reply).await },
                Some(reply) = self.deciding.join_next() => if let Ok(reply) = reply { self.on_reply(reply).await },
                hooks = pending.take() => self.announced(hooks),
                Some(key) = changed.recv() => { self.unread.insert(key); }
                _ = poll.tick() => self.poll(),
                Some(_) = self.disabling.join_next() => {}
            }
            self.ask();
        }
        let rest = async {
            while let Some(finished) = self.running.join_next().await {
                if let Ok(finished) = finished {
                    let span = finished.span.clone();
                    self.settle(finished).instrument(span).await;
                }
            }
        };
        // Deliveries that do not end in time are sent again after the next start.
        let _ = tokio::time::timeout(patience, rest).await;
        self.running.abort_all();
        let now = self.now();
        for (key, claims) in self
            .lanes
            .iter_mut()
            .map(|(key, lane)| (*key, lane.drain()))
            .collect::<Vec<_>>()
        {
            self.give_back(key, claims, now).await;
        }
    }

    pub(super) fn now(&self) -> UnixMs {
        (self.parts.clock)()
    }

    fn poll(&mut self) {
        let now = self.now();
        self.lanes.retain(|_, lane| !lane.is_idle(now));
        if !std::mem::replace(&mut self.polling, true) {
            let store = Arc::clone(&self.parts.store);
            self.reading
                .spawn(async move { StoreReply::Due(store.due_webhooks(now, POLLED).await) });
        }
    }

    /// Reads webhooks that have no lane, or that have changed.
    fn ask(&mut self) {
        while self.reading.len() < MAX_READING
            && let Some(key) = self.unread.pop_first()
        {
            let store = Arc::clone(&self.parts.store);
            self.reading
                .spawn(async move { StoreReply::Hook(key, Box::new(store.webhook(key).await)) });
        }
    }

    fn announced(&mut self, hooks: BTreeSet<WebhookKey>) {
        for key in hooks {
            match self.lanes.get_mut(&key) {
                Some(lane) => {
                    lane.more = true;
                    self.advance(key);
                }
                None => {
                    self.unread.insert(key);
                }
            }
        }
    }

    async fn on_reply(&mut self, reply: StoreReply) {
        match reply {
            StoreReply::Hook(key, found) => match *found {
                Ok(Some(state)) if state.hook.enabled => self.open(key, &state),
                Ok(_) => self.close(key).await,
                Err(error) => {
                    tracing::error!(webhook.id = %key.hook, %error, "failed to read a webhook; retrying when it has due deliveries")
                }
            },
            StoreReply::Due(due) => {
                self.polling = false;
                match due {
                    Ok(due) => {
                        for state in due {
                            self.open(state.hook.key, &state);
                        }
                    }
                    Err(error) => {
                        tracing::error!(%error, "failed to read webhooks with due deliveries; retrying with the next poll")
                    }
                }
            }
            StoreReply::Claims {
                key,
                asked,
                until,
                claims,
            } => {
                let claims = claims.unwrap_or_else(|error| {
                    tracing::error!(webhook.id = %key.hook, %error, "failed to claim deliveries; retrying with the next poll");
                    Vec::new()
                });
                self.claimed(key, claims, asked, until).await;
                self.line_up();
            }
            StoreReply::Decided {
                key,
                full,
                until,
                decided,
            } => self.decided(key, decided, full, until).await,
        }
    }

    /// Creates or updates a webhook's lane.
    fn open(&mut self, key: WebhookKey, state: &WebhookState) {
        let target = match Target::open(&state.hook, &self.parts.seal, &self.parts.guard) {
            Ok(target) => target,
            Err(error) => {
                tracing::error!(webhook.id = %key.hook, %error, "failed to open a webhook; its deliveries wait");
                return;
            }
        };
        match self.lanes.get_mut(&key) {
            Some(lane) => lane.renew(target, state),
            None => {
                self.lanes.insert(key, Lane::new(target, state));
            }
        }
        self.advance(key);
    }

    /// Removes the lane of a webhook that is disabled or deleted.
    pub(super) async fn close(&mut self, key: WebhookKey) {
        if let Some(mut lane) = self.lanes.remove(&key) {
            let now = self.now();
            self.give_back(key, lane.drain(), now).await;
        }
    }

    async fn claimed(&mut self, key: WebhookKey, claims: Vec<Claim>, asked: usize, until: UnixMs) {
        let (now, full) = (self.now(), claims.len() >= asked);
        let mut there = Vec::with_capacity(claims.len());
        for claim in claims {
            match &claim.body {
                Some(_) => there.push(claim),
                None if claim.unread => self.record(again(key, &claim, now)).await,
                None => self.record(result_of(key, &claim, Disposition::Done)).await,
            }
        }
        let Some(lane) = self.lanes.get_mut(&key) else {
            return self.give_back(key, there, now).await;
        };
        if there.iter().any(|claim| claim.undecided) {
            return self.decide(key, there, full, until).await;
        }
        lane.claimed(there, full, until);
        self.advance(key);
    }

    /// Starts the requests of a webhook that may start, and claims more deliveries.
    pub(super) fn advance(&mut self, key: WebhookKey) {
        let now = self.now();
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        while let Some((claim, probe)) = lane.next(now) {
            let Some(slot) = self.slots.take(&lane.target.host, lane.is_proven()) else {
                lane.put_back(claim, probe, now);
                self.queue_up(key);
                break;
            };
            lane.running += 1;
            let (client, target) = (Arc::clone(&self.parts.client), Arc::clone(&lane.target));
            let number = claim.attempts.saturating_add(1);
            let span = client::span(key, claim.message, number);
            let finished = span.clone();
            let attempting = async move {
                let body = claim
                    .body
                    .as_ref()
                    .expect("only deliveries with their message are buffered");
                let attempted = client.attempt(&target, body, number).await;
                Finished {
                    key,
                    slot,
                    claim,
                    probe,
                    attempted,
                    span: finished,
                }
            };
            self.running.spawn(attempting.instrument(span));
        }
        self.claim(key, now);
    }

    fn queue_up(&mut self, key: WebhookKey) {
        if let Some(lane) = self.lanes.get_mut(&key)
            && !std::mem::replace(&mut lane.in_line, true)
        {
            self.line.push_back(key);
        }
    }

    fn claim(&mut self, key: WebhookKey, now: UnixMs) {
        let buffered: usize = self.lanes.values().map(Lane::buffered).sum();
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        let limit = lane.wanted(now).min(MAX_BUFFERED.saturating_sub(buffered));
        if limit == 0 {
            return;
        }
        if self.claiming.len() >= MAX_CLAIMING {
            return self.queue_up(key);
        }
        lane.asks();
        let until = now + LEASE_MS;
        let query = ClaimQuery {
            key,
            worker: self.parts.worker,
            now,
            until,
            limit,
            ordered: lane.target.ordered,
        };
        let store = Arc::clone(&self.parts.store);
        self.claiming.spawn(async move {
            StoreReply::Claims {
                key,
                asked: limit,
                until,
                claims: store.claim(&query).await,
            }
        });
    }

    async fn finished(&mut self, finished: Finished) {
        let (key, span) = (finished.key, finished.span.clone());
        self.settle(finished).instrument(span).await;
        self.advance(key);
        self.line_up();
    }

    /// Gives every queued webhook one chance to start a request, in order.
    fn line_up(&mut self) {
        for _ in 0..self.line.len() {
            let Some(key) = self.line.pop_front() else { break };
            if let Some(lane) = self.lanes.get_mut(&key) {
                lane.in_line = false;
                self.advance(key);
            }
        }
    }

    /// Gives claimed deliveries back to the store, to be claimed from `due` on.
    pub(super) async fn give_back(&mut self, key: WebhookKey, claims: Vec<Claim>, due: UnixMs) {
        for claim in claims {
            let disposition = Disposition::Wait {
                due,
                attempts: claim.attempts,
            };
            self.record(result_of(key, &claim, disposition)).await;
        }
    }

    pub(super) async fn record(&self, result: DeliveryResult) {
        // Fails only when the recorder has ended: then no outcome is recorded any more, and the leases
        // expire.
        let _ = self.parts.records.send(result).await;
    }
}

pub(super) fn result_of(key: WebhookKey, claim: &Claim, disposition: Disposition) -> DeliveryResult {
    let (message, device) = (claim.message, Some(claim.device));
    DeliveryResult {
        key,
        message,
        device,
        timestamp: claim.timestamp,
        disposition,
        attempt: None,
        health: None,
        announce: false,
    }
}
