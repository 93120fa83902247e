use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::Duration;

use iottly_protocol::StreamInfo;
use tokio::sync::watch;

use super::handle::{Offer, OutboxError, Request, Shared, State, cost};
use super::{CLASSES, Page, Queue, QueueError, index};
use crate::clock::Monotonic;

/// Most records in one commit.
const GROUP_RECORDS: usize = 1000;
/// Size at which a commit takes no more records, bytes.
const GROUP_BYTES: usize = 1 << 20;
/// Pauses between attempts while the storage fails.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How long a stop goes on trying a storage that fails.
const STOP_ATTEMPTS: u32 = 3;

/// The thread that owns the queue.
pub(super) struct Owner {
    shared: Arc<Shared>,
    queue: Box<dyn Queue>,
    streams: watch::Sender<[StreamInfo; 2]>,
    clock: Monotonic,
}

struct Work {
    group: Vec<Offer>,
    requests: VecDeque<Request>,
    acks: [Option<u64>; 2],
    stopping: bool,
}

impl Owner {
    pub(super) fn new(shared: Arc<Shared>, queue: Box<dyn Queue>, streams: watch::Sender<[StreamInfo; 2]>) -> Self {
        Self { shared, queue, streams, clock: Monotonic::start() }
    }

    /// Works until the outbox is stopped and everything taken is stored.
    pub(super) fn run(mut self) {
        loop {
            let work = self.next_work();
            self.queue.tick(self.clock.now_ms());
            let idle = work.group.is_empty() && work.requests.is_empty() && work.acks == [None; 2];
            if idle && work.stopping {
                break;
            }
            self.commit(work.group);
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

    fn next_work(&self) -> Work {
        let nothing =
            |state: &mut State| state.open.is_empty() && state.requests.is_empty() && state.acks == [None; 2] && !state.stopping;
        let state = self.shared.lock();
        let mut state = self.shared.work.wait_while(state, nothing).unwrap_or_else(PoisonError::into_inner);
        let mut group: Vec<Offer> = Vec::new();
        let mut bytes = 0;
        while let Some(offer) = state.open.front() {
            let len = offer.pending.record.len();
            if group.len() >= GROUP_RECORDS || (!group.is_empty() && bytes + len > GROUP_BYTES) {
                break;
            }
            bytes += len;
            group.extend(state.open.pop_front());
        }
        state.open_bytes -= bytes;
        let work = Work {
            group,
            requests: std::mem::take(&mut state.requests),
            acks: std::mem::take(&mut state.acks),
            stopping: state.stopping,
        };
        drop(state);
        self.shared.room.notify_all();
        work
    }

    /// Commits a group; while the storage fails, whoever waits is told so and the rest is tried again.
    fn commit(&mut self, mut group: Vec<Offer>) {
        let (mut pause, mut attempts) = (RETRY_MIN, 0);
        while !group.is_empty() {
            let (batch, mut waiters): (Vec<_>, Vec<_>) = group.drain(..).map(|offer| (offer.pending, offer.done)).unzip();
            let error = match self.queue.push_batch(&batch) {
                Ok(()) => {
                    for done in waiters.into_iter().flatten() {
                        // A sender that no longer waits needs no answer.
                        let _ = done.send(Ok(()));
                    }
                    return;
                }
                Err(error) => error,
            };
            let text = error.to_string();
            tracing::error!(error = %text, records = batch.len(), "the queue cannot store records");
            let waiting: Vec<bool> = waiters.iter().map(Option::is_some).collect();
            for done in waiters.drain(..).flatten() {
                let _ = done.send(Err(OutboxError::Storage(text.clone())));
            }
            let kept = batch.into_iter().zip(waiting).filter(|(_, waits)| !waits);
            group = kept.map(|(pending, _)| Offer { pending, done: None }).collect();
            attempts += 1;
            if self.shared.lock().stopping && attempts >= STOP_ATTEMPTS {
                tracing::error!(records = group.len(), "stopping with records that could not be stored");
                return;
            }
            thread::sleep(pause);
            pause = (pause * 2).min(RETRY_MAX);
            self.recover();
        }
    }

    fn answer(&mut self, request: Request) {
        match request {
            Request::Peek { class, from, max_records, max_bytes, reply } => {
                let page = self.queue.peek(class, from, max_records, max_bytes);
                let answer = page.as_ref().map(Page::clone).map_err(|e| OutboxError::Storage(e.to_string()));
                self.mend(page.map(drop), "read records");
                reply(answer);
            }
            Request::DeadLetter { class, seq, reason } => {
                let result = self.queue.dead_letter(class, seq, &reason);
                self.mend(result, "keep a dead letter");
            }
            Request::Remint { class } => {
                let result = self.queue.remint(class);
                self.mend(result, "start a new stream");
                self.publish();
            }
        }
    }

    fn mend(&mut self, result: Result<(), QueueError>, what: &str) {
        if let Err(error) = result {
            tracing::error!(%error, "the queue could not {what}");
            self.recover();
        }
    }

    fn recover(&mut self) {
        if let Err(error) = self.queue.recover() {
            tracing::error!(%error, "the queue could not be opened again");
        }
    }

    fn publish(&self) {
        let mut state = self.shared.lock();
        for class in CLASSES {
            let open =
                state.open.iter().filter(|offer| offer.pending.class == class).map(|offer| cost(offer.pending.record.len()));
            state.used[index(class)] = self.queue.disk_bytes(class) + open.sum::<u64>();
        }
        drop(state);
        let infos = CLASSES.map(|class| self.queue.stream(class));
        self.streams.send_if_modified(|current| std::mem::replace(current, infos) != infos);
    }
}
