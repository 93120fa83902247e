use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};

use iottly_protocol::{StreamClass, StreamInfo, limits};
use tokio::sync::{oneshot, watch};

use super::owner::Owner;
use super::shared::{Committed, Offer, OutboxError, Request, Shared, State, cost};
use super::wait::{self, Waited};
use super::{CLASSES, Page, Pending, Queue, index};
use crate::clock::unix_ms;
use crate::time::BoardClock;

/// Most bytes that wait for a commit.
const OPEN_BYTES: usize = 4 << 20;
/// Most records that wait for a commit.
const OPEN_RECORDS: usize = 10_000;
/// How long a sender waits for room before it is told that the queue is busy.
const ROOM_WAIT: Duration = Duration::from_millis(50);
/// How long a sender waits until its record is durable.
const DURABLE_WAIT: Duration = Duration::from_secs(10);
/// How much of that is left to it once the agent stops.
const LEAVING_WAIT: Duration = Duration::from_millis(500);

/// A handle on the thread that owns the queue.
///
/// It commits at once when it is idle; what arrives while a commit runs becomes the next group.
#[derive(Clone)]
pub struct Outbox {
    shared: Arc<Shared>,
    streams: watch::Receiver<[StreamInfo; 2]>,
    /// How long ago each stream began as the latest of several, when the queue was opened.
    minted_ago_ms: [Option<u64>; 2],
    /// None when records come with their dates.
    clock: Option<BoardClock>,
}

impl Outbox {
    /// Starts the thread that owns `queue`; `name` is the thread's. `guard` is dropped when the queue is
    /// closed.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(
        queue: Box<dyn Queue>,
        name: &str,
        guard: impl Send + 'static,
    ) -> io::Result<(Self, thread::JoinHandle<()>)> {
        let infos = CLASSES.map(|class| queue.stream(class));
        let minted_ago_ms = CLASSES.map(|class| queue.minted_ago_ms(class));
        let state = State {
            used: CLASSES.map(|class| queue.disk_bytes(class)),
            ..State::default()
        };
        let shared = Arc::new(Shared {
            policy: queue.policy(),
            state: Mutex::new(state),
            work: Condvar::new(),
            room: Condvar::new(),
        });
        let (tx, streams) = watch::channel(infos);
        let owner = Owner::new(Arc::clone(&shared), queue, tx);
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .stack_size(512 << 10)
            .spawn(move || {
                owner.run();
                drop(guard);
            })?;
        Ok((
            Self {
                shared,
                streams,
                minted_ago_ms,
                clock: None,
            },
            thread,
        ))
    }

    /// The same outbox for records that are dated by a clock which may not know the date yet.
    pub(crate) fn dated_by(self, clock: BoardClock) -> Self {
        Self {
            clock: Some(clock),
            ..self
        }
    }

    /// The clock that dates the records.
    pub(crate) fn clock(&self) -> Option<&BoardClock> {
        self.clock.as_ref()
    }

    /// The time of a record that is made now, unix milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.clock.as_ref().map_or_else(unix_ms, BoardClock::now_ms)
    }

    /// Hands a record over; it is in the open group when this returns, on disk after the group's commit.
    /// Waits up to 50 ms for room, so it is not for async code.
    ///
    /// # Errors
    /// When the record was not taken; the reason says why.
    pub fn offer(&self, class: StreamClass, record: Vec<u8>) -> Result<(), OutboxError> {
        self.put(class, record, None, ROOM_WAIT, 1)
    }

    /// Like [`Outbox::offer`], with a receiver that resolves once the record is durable.
    ///
    /// # Errors
    /// When the record was not taken; the reason says why.
    pub fn offer_durable(&self, class: StreamClass, record: Vec<u8>) -> Result<Committed, OutboxError> {
        let (done, committed) = oneshot::channel();
        self.put(class, record, Some(done), ROOM_WAIT, 1)?;
        Ok(committed)
    }

    /// Hands a record over and waits until it is durable, at most ten seconds. Not for async code.
    ///
    /// # Errors
    /// When the record was not taken or could not be stored; the reason says why. A record whose wait ended
    /// may still be stored.
    pub fn offer_and_wait(&self, class: StreamClass, record: Vec<u8>) -> Result<(), OutboxError> {
        let committed = self.offer_durable(class, record)?;
        let began = Instant::now();
        let mut until = began + DURABLE_WAIT;
        let mut leaving = false;
        let waited = wait::wait(committed, || {
            if !leaving && self.shared.lock().leaving {
                leaving = true;
                until = until.min(Instant::now() + LEAVING_WAIT);
            }
            Instant::now() < until
        });
        match waited {
            Waited::Answered(answer) => answer.unwrap_or(Err(OutboxError::Closed)),
            Waited::Ended => {
                let text = format!(
                    "no answer of the disk within {} ms, the record may still be stored",
                    began.elapsed().as_millis()
                );
                Err(OutboxError::Storage(text))
            }
        }
    }

    /// Like [`Outbox::offer`] without waiting for room.
    ///
    /// # Errors
    /// When the record was not taken; the reason says why.
    pub fn try_offer(&self, class: StreamClass, record: Vec<u8>) -> Result<(), OutboxError> {
        self.put(class, record, None, Duration::ZERO, 1)
    }

    /// Like [`Outbox::offer_durable`] without waiting for room.
    ///
    /// # Errors
    /// When the record was not taken; the reason says why.
    pub fn try_offer_durable(&self, class: StreamClass, record: Vec<u8>) -> Result<Committed, OutboxError> {
        let (done, committed) = oneshot::channel();
        self.put(class, record, Some(done), Duration::ZERO, 1)?;
        Ok(committed)
    }

    /// Like [`Outbox::try_offer`] for what may be given up first: takes only half of the budget.
    ///
    /// # Errors
    /// When the record was not taken; the reason says why.
    pub fn offer_low_priority(&self, class: StreamClass, record: Vec<u8>) -> Result<(), OutboxError> {
        self.put(class, record, None, Duration::ZERO, 2)
    }

    fn put(
        &self,
        class: StreamClass,
        record: Vec<u8>,
        done: Option<oneshot::Sender<Result<(), OutboxError>>>,
        wait: Duration,
        share: u64,
    ) -> Result<(), OutboxError> {
        let len = record.len();
        if len > limits::MAX_RECORD_BYTES {
            return Err(OutboxError::TooLarge {
                len,
                max: limits::MAX_RECORD_BYTES,
            });
        }
        let record = match &self.clock {
            Some(clock) => clock.seal(record),
            None => record,
        };
        let len = record.len();
        let no_room = |state: &mut State| {
            !state.stopping
                && !state.open.is_empty()
                && (state.open_bytes + len > OPEN_BYTES || state.open.len() >= OPEN_RECORDS)
        };
        let guard = self.shared.lock();
        let (mut state, timeout) = self
            .shared
            .room
            .wait_timeout_while(guard, wait, no_room)
            .unwrap_or_else(PoisonError::into_inner);
        if state.stopping {
            return Err(OutboxError::Closed);
        }
        if timeout.timed_out() {
            return Err(OutboxError::Busy {
                waiting: state.open_bytes,
            });
        }
        if let Some(failing) = state
            .failing
            .as_ref()
            .filter(|failing| done.is_some() && Instant::now() < failing.until)
        {
            return Err(OutboxError::Storage(failing.text.clone()));
        }
        let cost = cost(len);
        if let Some((used, budget)) = self
            .shared
            .budget(class, &state)
            .filter(|(used, budget)| used + cost > budget / share)
        {
            return Err(OutboxError::Full {
                used,
                budget: budget / share,
            });
        }
        state.used[index(class)] += cost;
        state.open_bytes += len;
        state.open.push_back(Offer {
            pending: Pending { class, record },
            done,
        });
        drop(state);
        self.shared.work.notify_one();
        Ok(())
    }

    /// Reads a page of a stream; `reply` is called on the queue's thread and must not block.
    pub fn peek(
        &self,
        class: StreamClass,
        from: u64,
        max_records: usize,
        max_bytes: usize,
        reply: impl FnOnce(Result<Page, OutboxError>) + Send + 'static,
    ) {
        self.request(Request::Peek {
            class,
            from,
            max_records,
            max_bytes,
            reply: Box::new(reply),
        });
    }

    /// Forgets a stream's records up to `upto`.
    pub fn ack(&self, class: StreamClass, upto: u64) {
        let mut state = self.shared.lock();
        let ack = &mut state.acks[index(class)];
        *ack = Some(ack.map_or(upto, |earlier| earlier.max(upto)));
        drop(state);
        self.shared.work.notify_one();
    }

    /// Keeps a copy of a refused record, unless there are too many of them.
    pub fn dead_letter(&self, class: StreamClass, seq: u64, reason: &str) {
        let mut state = self.shared.lock();
        if !state.stopped {
            state.refusals.add(class, seq, reason);
        }
        drop(state);
        self.shared.work.notify_one();
    }

    /// How long before the start each stream took the place of an earlier one; none where it never did.
    /// Milliseconds.
    #[must_use]
    pub fn minted_ago_ms(&self) -> [Option<u64>; 2] {
        self.minted_ago_ms
    }

    /// Gives the stream a new id and new numbers; [`Outbox::streams`] shows it when done.
    pub fn remint(&self, class: StreamClass) {
        self.request(Request::Remint { class });
    }

    /// Identity and bounds of the streams, by class, after each commit and acknowledgement.
    #[must_use]
    pub fn streams(&self) -> watch::Receiver<[StreamInfo; 2]> {
        self.streams.clone()
    }

    /// Says that the agent is about to stop: senders that wait for the disk are answered soon.
    pub fn leave(&self) {
        self.shared.lock().leaving = true;
    }

    /// Lets the thread commit what it has and end; later offers are refused.
    pub fn stop(&self) {
        self.shared.lock().stopping = true;
        self.shared.work.notify_one();
        self.shared.room.notify_all();
    }

    fn request(&self, request: Request) {
        let mut state = self.shared.lock();
        if state.stopped {
            if let Request::Peek { reply, .. } = request {
                drop(state);
                reply(Err(OutboxError::Closed));
            }
            return;
        }
        state.requests.push_back(request);
        drop(state);
        self.shared.work.notify_one();
    }
}
