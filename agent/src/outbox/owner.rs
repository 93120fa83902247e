//! The thread that owns the queue: commits offered records in groups and serves the link's requests.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use iottly_protocol::StreamInfo;
use tokio::sync::watch;

use super::refusals::{LetterBudget, Refusal};
use super::shared::{Failing, Offer, OutboxError, Request, Shared, State, cost};
use super::{CLASSES, Page, Queue, QueueError, index};
use crate::clock::Monotonic;
use crate::throttle::{LogLimit, cut};
use crate::watchdog;

/// Maximum number of records in one commit.
const GROUP_RECORDS: usize = 1000;
/// Size at which a commit accepts no more records, in bytes.
const GROUP_BYTES: usize = 1 << 20;
/// First and longest pause between attempts while the storage fails, in milliseconds.
const RETRY_MIN_MS: u64 = 100;
const RETRY_MAX_MS: u64 = 5_000;
/// Number of attempts to store records during a stop.
const STOP_ATTEMPTS: u32 = 3;

/// State of the thread that owns the queue.
///
/// Each round stores the offered records, then serves the link: refusals, acknowledgements, reads. Records
/// that cannot be stored wait in the open list; once that is full, offers fail as busy. The link is served
/// nevertheless, because acknowledgements make room.
pub(super) struct Owner {
    shared: Arc<Shared>,
    queue: Box<dyn Queue>,
    streams: watch::Sender<[StreamInfo; 2]>,
    clock: Monotonic,
    /// Next attempt, while records cannot be stored.
    retry: Option<Retry>,
    letters: LetterBudget,
}

#[derive(Debug, Clone, Copy)]
struct Retry {
    at_ms: u64,
    pause_ms: u64,
    /// Number of failures since the stop began.
    stopping: u32,
}

/// Work of one round.
struct Work {
    group: Vec<Offer>,
    requests: Vec<Request>,
    refused: Vec<Refusal>,
    /// Number of refusals beyond the waiting ones.
    dropped: u64,
    acks: [Option<u64>; 2],
    stopping: bool,
}

impl Work {
    fn is_empty(&self) -> bool {
        self.group.is_empty() && self.requests.is_empty() && self.refused.is_empty() && self.acks == [None; 2]
    }
}

impl Owner {
    pub(super) fn new(
        shared: Arc<Shared>,
        queue: Box<dyn Queue>,
        streams: watch::Sender<[StreamInfo; 2]>,
    ) -> Self {
        Self {
            shared,
            queue,
            streams,
            clock: Monotonic::start(),
            retry: None,
            letters: LetterBudget::default(),
        }
    }

    /// Runs until the outbox is stopped and all accepted records are stored, or a few more attempts to store
    /// them have failed.
    pub(super) fn run(mut self) {
        loop {
            let work = self.next_work();
            let _step = watchdog::step("storing and reading messages");
            let now_ms = self.clock.now_ms();
            self.queue.tick(now_ms);
            if work.is_empty() && work.stopping {
                break;
            }
            self.commit(work.group, work.stopping);
            self.keep_refused(work.refused, work.dropped, now_ms);
            for class in CLASSES {
                if let Some(upto) = work.acks[index(class)] {
                    let result = self.queue.ack(class, upto);
                    self.repair(result, "remove acknowledged records");
                }
            }
            self.publish();
            for request in work.requests {
                self.answer(request);
            }
        }
        let mut state = self.shared.lock();
        state.stopped = true;
        let left = std::mem::take(&mut state.requests);
        drop(state);
        for request in left {
            if let Request::Peek { reply, .. } = request {
                reply(Err(OutboxError::Closed));
            }
        }
    }

    /// Waits for work. Records that could not be stored wait for their next attempt; all other work is
    /// returned at once.
    fn next_work(&mut self) -> Work {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        loop {
            if let Some(part) = shared.part.get() {
                part.turn();
            }
            if state.stopping
                && let Some(retry) = self.retry.as_mut().filter(|retry| retry.stopping == 0)
            {
                *retry = Retry {
                    at_ms: 0,
                    pause_ms: RETRY_MIN_MS,
                    stopping: 1,
                };
            }
            let wait_ms = self
                .retry
                .map_or(0, |retry| retry.at_ms.saturating_sub(self.clock.now_ms()));
            let store = !state.open.is_empty() && wait_ms == 0;
            let others = !state.requests.is_empty() || !state.refusals.is_empty() || state.acks != [None; 2];
            if store || others || (state.stopping && state.open.is_empty()) {
                return take(&mut state, store);
            }
            let wait = if state.open.is_empty() {
                watchdog::IDLE
            } else {
                Duration::from_millis(wait_ms).min(watchdog::IDLE)
            };
            state = shared
                .work
                .wait_timeout(state, wait)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Commits a group. After an error, senders that await durability are notified and keep their records;
    /// all other records return to the front of the open list.
    fn commit(&mut self, group: Vec<Offer>, stopping: bool) {
        if group.is_empty() {
            return;
        }
        if self.retry.is_some() {
            self.recover();
        }
        let bytes: usize = group.iter().map(|offer| offer.pending.record.len()).sum();
        let (batch, waiters): (Vec<_>, Vec<_>) =
            group.into_iter().map(|offer| (offer.pending, offer.done)).unzip();
        let pushed = self.queue.push_batch(&batch);
        let Err(error) = pushed else {
            self.retry = None;
            let mut state = self.shared.lock();
            state.failing = None;
            state.open_bytes -= bytes;
            drop(state);
            self.shared.room.notify_all();
            for done in waiters.into_iter().flatten() {
                // The sender may no longer wait.
                let _ = done.send(Ok(()));
            }
            return;
        };
        let pause_ms = self.postpone(stopping);
        let text = error.to_string();
        static FAILED: LogLimit = LogLimit::new();
        if let Some(more) = FAILED.pass() {
            let records = batch.len();
            tracing::error!(
                error = cut(&text),
                queue.records = records,
                suppressed = more,
                pause_ms,
                "failed to store records; retrying after a pause"
            );
        }
        let group = batch
            .into_iter()
            .zip(waiters)
            .map(|(pending, done)| Offer { pending, done });
        let mut state = self.shared.lock();
        put_back(&mut state, group.collect(), &text);
        state.failing = Some(Failing {
            text,
            until: Instant::now() + Duration::from_millis(pause_ms),
        });
        if stopping && self.retry.is_some_and(|retry| retry.stopping >= STOP_ATTEMPTS) {
            tracing::error!(
                queue.records = state.open.len(),
                "failed to store records before the stop; discarding them"
            );
            state.open.clear();
            state.open_bytes = 0;
        }
        drop(state);
        self.shared.room.notify_all();
    }

    /// Sets the time of the next attempt. Returns the pause until then, in milliseconds.
    fn postpone(&mut self, stopping: bool) -> u64 {
        let before = self.retry.unwrap_or(Retry {
            at_ms: 0,
            pause_ms: RETRY_MIN_MS,
            stopping: 0,
        });
        let pause_ms = if stopping { RETRY_MIN_MS } else { before.pause_ms };
        self.retry = Some(Retry {
            at_ms: self.clock.now_ms() + pause_ms,
            pause_ms: (pause_ms * 2).min(RETRY_MAX_MS),
            stopping: before.stopping + u32::from(stopping),
        });
        pause_ms
    }

    /// Keeps copies of refused records, within the budget for them.
    fn keep_refused(&mut self, refused: Vec<Refusal>, dropped: u64, now_ms: u64) {
        let mut skipped = dropped;
        for Refusal { class, seq, reason } in refused {
            if !self.letters.allows(now_ms) {
                skipped += 1;
                continue;
            }
            match self.queue.dead_letter(class, seq, &reason) {
                Ok(true) => self.letters.spend(),
                Ok(false) => {}
                // A failed attempt costs as much.
                Err(error) => {
                    self.letters.spend();
                    self.repair(Err(error), "keep a copy of a refused record");
                }
            }
        }
        static SKIPPED: LogLimit = LogLimit::new();
        if skipped > 0
            && let Some(more) = SKIPPED.pass()
        {
            tracing::warn!(
                queue.records = skipped,
                suppressed = more,
                "too many records were refused at once; not keeping copies of the rest"
            );
        }
    }

    fn answer(&mut self, request: Request) {
        match request {
            Request::Peek {
                class,
                from,
                max_records,
                max_bytes,
                reply,
            } => {
                let page = self.queue.peek(class, from, max_records, max_bytes);
                let answer = page
                    .as_ref()
                    .map(Page::clone)
                    .map_err(|e| OutboxError::Storage(e.to_string()));
                self.repair(page.map(drop), "read records");
                reply(answer);
            }
            Request::Remint { class } => {
                let result = self.queue.remint(class);
                self.repair(result, "start a new stream");
                self.publish();
            }
        }
    }

    fn repair(&mut self, result: Result<(), QueueError>, operation: &'static str) {
        static FAILED: LogLimit = LogLimit::new();
        if let Err(error) = result {
            if let Some(more) = FAILED.pass() {
                tracing::error!(
                    error = cut(&error.to_string()),
                    suppressed = more,
                    queue.operation = operation,
                    "failed to use the storage of the queue; reopening it"
                );
            }
            self.recover();
        }
    }

    fn recover(&mut self) {
        static FAILED: LogLimit = LogLimit::new();
        if let Err(error) = self.queue.recover()
            && let Some(more) = FAILED.pass()
        {
            tracing::error!(
                error = cut(&error.to_string()),
                suppressed = more,
                "failed to reopen the queue; retrying with the next operation"
            );
        }
    }

    fn publish(&self) {
        let mut state = self.shared.lock();
        for class in CLASSES {
            let open = state
                .open
                .iter()
                .filter(|offer| offer.pending.class == class)
                .map(|offer| cost(offer.pending.record.len()));
            state.used[index(class)] = self.queue.disk_bytes(class) + open.sum::<u64>();
            state.counts[index(class)] = self.queue.count(class);
        }
        drop(state);
        let infos = CLASSES.map(|class| self.queue.stream(class));
        self.streams
            .send_if_modified(|current| std::mem::replace(current, infos) != infos);
    }
}

/// Removes the work of one round from the shared state; the records of the group stay counted as open until
/// stored.
fn take(state: &mut MutexGuard<'_, State>, store: bool) -> Work {
    let mut group: Vec<Offer> = Vec::new();
    let mut bytes = 0;
    while let Some(offer) = state.open.front().filter(|_| store) {
        let len = offer.pending.record.len();
        if group.len() >= GROUP_RECORDS || (!group.is_empty() && bytes + len > GROUP_BYTES) {
            break;
        }
        bytes += len;
        group.extend(state.open.pop_front());
    }
    let (refused, dropped) = state.refusals.take();
    Work {
        group,
        requests: std::mem::take(&mut state.requests).into(),
        refused: refused.into(),
        dropped,
        acks: std::mem::take(&mut state.acks),
        stopping: state.stopping,
    }
}

/// Returns a group that could not be stored to the front of the open list. Senders that await a record, of
/// the group or behind it, are notified of the failure and keep their records: no sender may wait for as long
/// as a disk is full.
fn put_back(state: &mut State, group: Vec<Offer>, text: &str) {
    let behind = std::mem::take(&mut state.open);
    let mut bytes = 0;
    for offer in group.into_iter().chain(behind) {
        match offer.done {
            // The sender may no longer wait.
            Some(done) => _ = done.send(Err(OutboxError::Storage(text.to_owned()))),
            None => {
                bytes += offer.pending.record.len();
                state.open.push_back(Offer {
                    pending: offer.pending,
                    done: None,
                });
            }
        }
    }
    state.open_bytes = bytes;
}
