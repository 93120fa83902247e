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

/// Most records in one commit.
const GROUP_RECORDS: usize = 1000;
/// Size at which a commit takes no more records, bytes.
const GROUP_BYTES: usize = 1 << 20;
/// First and longest pause between attempts while the storage fails, milliseconds.
const RETRY_MIN_MS: u64 = 100;
const RETRY_MAX_MS: u64 = 5_000;
/// How often a stop goes on trying a storage that fails.
const STOP_ATTEMPTS: u32 = 3;

/// The thread that owns the queue.
///
/// In each round it stores what was offered, then serves the cloud: refusals, acknowledgements, reads. While
/// records cannot be stored they wait in the open list, whose bound tells senders that the queue is busy, and
/// the cloud is served all the same: what it acknowledges is what makes room.
pub(super) struct Owner {
    shared: Arc<Shared>,
    queue: Box<dyn Queue>,
    streams: watch::Sender<[StreamInfo; 2]>,
    clock: Monotonic,
    /// The next attempt, while records cannot be stored.
    retry: Option<Retry>,
    letters: LetterBudget,
}

#[derive(Debug, Clone, Copy)]
struct Retry {
    at_ms: u64,
    pause_ms: u64,
    /// Failures since the stop began.
    stopping: u32,
}

struct Work {
    group: Vec<Offer>,
    requests: Vec<Request>,
    refused: Vec<Refusal>,
    /// Refusals that found no room.
    uncounted: u64,
    acks: [Option<u64>; 2],
    stopping: bool,
}

impl Work {
    fn is_nothing(&self) -> bool {
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

    /// Works until the outbox is stopped and everything taken is stored, or a few more attempts to store it
    /// have failed.
    pub(super) fn run(mut self) {
        loop {
            let work = self.next_work();
            let _step = watchdog::step("storing and reading messages");
            let now_ms = self.clock.now_ms();
            self.queue.tick(now_ms);
            if work.is_nothing() && work.stopping {
                break;
            }
            self.commit(work.group, work.stopping);
            self.keep_refused(work.refused, work.uncounted, now_ms);
            for class in CLASSES {
                if let Some(upto) = work.acks[index(class)] {
                    let result = self.queue.ack(class, upto);
                    self.mend(result, "forget acknowledged records");
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

    /// Waits for something to do. Records that could not be stored wait for their next attempt, everything
    /// else does not.
    fn next_work(&mut self) -> Work {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        loop {
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
            state = if state.open.is_empty() {
                shared.work.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else {
                let wait = Duration::from_millis(wait_ms);
                shared
                    .work
                    .wait_timeout(state, wait)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            };
        }
    }

    /// Commits a group. After an error whoever waits for durable records is told so, and the others go back
    /// to where they were.
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
                // A sender that no longer waits needs no answer.
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
                records,
                more,
                "the queue cannot store records; trying again in {pause_ms} ms"
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
                records = state.open.len(),
                "stopping with records that could not be stored"
            );
            state.open.clear();
            state.open_bytes = 0;
        }
        drop(state);
        self.shared.room.notify_all();
    }

    /// Sets the time of the next attempt; returns the pause until then, milliseconds.
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

    /// Keeps copies of refused records, as far as the budget for them goes.
    fn keep_refused(&mut self, refused: Vec<Refusal>, uncounted: u64, now_ms: u64) {
        let mut left_out = uncounted;
        for Refusal { class, seq, reason } in refused {
            if !self.letters.allows(now_ms) {
                left_out += 1;
                continue;
            }
            match self.queue.dead_letter(class, seq, &reason) {
                Ok(true) => self.letters.spend(),
                Ok(false) => {}
                // An attempt that failed has cost as much.
                Err(error) => {
                    self.letters.spend();
                    self.mend(Err(error), "keep a refused record");
                }
            }
        }
        static LEFT_OUT: LogLimit = LogLimit::new();
        if left_out > 0
            && let Some(more) = LEFT_OUT.pass()
        {
            tracing::warn!(
                records = left_out,
                more,
                "too many records were refused at once; not keeping copies of these"
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
                self.mend(page.map(drop), "read records");
                reply(answer);
            }
            Request::Remint { class } => {
                let result = self.queue.remint(class);
                self.mend(result, "start a new stream");
                self.publish();
            }
        }
    }

    fn mend(&mut self, result: Result<(), QueueError>, what: &'static str) {
        static FAILED: LogLimit = LogLimit::new();
        if let Err(error) = result {
            if let Some(more) = FAILED.pass() {
                tracing::error!(
                    error = cut(&error.to_string()),
                    more,
                    "the queue could not {what}; opening it again"
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
                more,
                "the queue could not be opened again; the next step tries it"
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
        }
        drop(state);
        let infos = CLASSES.map(|class| self.queue.stream(class));
        self.streams
            .send_if_modified(|current| std::mem::replace(current, infos) != infos);
    }
}

/// Takes what there is to do; the records of a group stay counted as open until they are stored.
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
    let (refused, uncounted) = state.refusals.take();
    Work {
        group,
        requests: std::mem::take(&mut state.requests).into(),
        refused: refused.into(),
        uncounted,
        acks: std::mem::take(&mut state.acks),
        stopping: state.stopping,
    }
}

/// Puts a group that could not be stored back to the front. Whoever waits for a record, of the group or
/// behind it, is told of the failure now: it still has the record, and nobody may wait for as long as a disk
/// is full.
fn put_back(state: &mut State, group: Vec<Offer>, text: &str) {
    let behind = std::mem::take(&mut state.open);
    let mut bytes = 0;
    for offer in group.into_iter().chain(behind) {
        match offer.done {
            // A sender that no longer waits needs no answer.
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
