//! Handles of the queue's thread: offer records, read pages, acknowledge. Never touch the storage.

use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};

use iottly_protocol::{StreamClass, StreamInfo, limits};
use tokio::sync::{oneshot, watch};

use super::owner::Owner;
use super::shared::{Committed, Offer, OutboxError, Request, Shared, State, cost};
use super::wait::{self, Waited};
use super::{CLASSES, Page, Pending, Queue, StreamCount, index};
use crate::clock::unix_ms;
use crate::time::BoardClock;
use crate::watchdog::Part;

/// Maximum size of the records that wait for a commit, in bytes.
const OPEN_BYTES: usize = 4 << 20;
/// Maximum number of records that wait for a commit.
const OPEN_RECORDS: usize = 10_000;
/// Maximum wait of a sender for room; then the offer fails with [`OutboxError::Busy`].
const ROOM_WAIT: Duration = Duration::from_millis(50);
/// Maximum wait of a sender for its record to be durable.
const DURABLE_WAIT: Duration = Duration::from_secs(10);
/// Remainder of that wait once the agent stops.
const LEAVING_WAIT: Duration = Duration::from_millis(500);

/// Handle of the thread that owns the queue; cheap to clone.
///
/// An idle thread commits at once; records that arrive during a commit form the next group.
#[derive(Clone)]
pub struct Outbox {
    shared: Arc<Shared>,
    streams: watch::Receiver<[StreamInfo; 2]>,
    /// Age of each stream that replaced an earlier one, when the queue was opened, in milliseconds.
    minted_ago_ms: [Option<u64>; 2],
    /// Clock that dates the records; `None` if they are offered with exact dates.
    clock: Option<BoardClock>,
}

impl Outbox {
    /// Starts a thread called `name` that owns `queue`. `guard` is dropped when the queue is closed.
    ///
    /// # Errors
    /// If the system cannot create a thread.
    pub fn start(
        queue: Box<dyn Queue>,
        name: &str,
        guard: impl Send + 'static,
    ) -> io::Result<(Self, thread::JoinHandle<()>)> {
        let infos = CLASSES.map(|class| queue.stream(class));
        let minted_ago_ms = CLASSES.map(|class| queue.minted_ago_ms(class));
        let state = State {
            used: CLASSES.map(|class| queue.disk_bytes(class)),
            counts: CLASSES.map(|class| queue.count(class)),
            ..State::default()
        };
        let shared = Arc::new(Shared {
            policy: queue.policy(),
            state: Mutex::new(state),
            work: Condvar::new(),
            room: Condvar::new(),
            part: OnceLock::new(),
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

    /// Returns the outbox with a clock that dates its records and may not know the date yet.
    pub(crate) fn dated_by(self, clock: BoardClock) -> Self {
        Self {
            clock: Some(clock),
            ..self
        }
    }

    /// Lets the thread report its progress.
    pub(crate) fn watched_by(&self, part: Part) {
        // Once for each queue: a second part would report nothing.
        let _ = self.shared.part.set(part);
    }

    /// Returns the clock that dates the records.
    pub(crate) fn clock(&self) -> Option<&BoardClock> {
        self.clock.as_ref()
    }

    /// Returns the time for a record that is created now, in unix milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.clock.as_ref().map_or_else(unix_ms, BoardClock::now_ms)
    }

    /// Offers a record; on return it is in the open group, after the group's commit on the disk. Blocks for
    /// up to 50 ms until there is room; not for async code.
    ///
    /// ```
    /// use iottly_agent::outbox::{Outbox, Queue, SledQueue};
    /// use iottly_protocol::{Level, LogLine, Record, StreamClass};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let (queue, _notes) = SledQueue::open(&folder.path().join("queue"))?;
    /// let (outbox, thread) = Outbox::start(Box::new(queue), "queue", ())?;
    ///
    /// let (text, at_ms) = ("started".to_owned(), outbox.now_ms());
    /// let line = LogLine { level: Level::Info, text, at_ms, firmware: None };
    /// outbox.offer(StreamClass::Control, Record::Log(line).encode())?;
    ///
    /// // A stopped queue commits what it has accepted, and keeps it until the cloud has acknowledged it.
    /// outbox.stop();
    /// thread.join().expect("the queue's thread does not panic");
    /// let (queue, _notes) = SledQueue::open(&folder.path().join("queue"))?;
    /// let control = queue.stream(StreamClass::Control);
    /// assert_eq!((control.oldest, control.next), (1, 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the record was not accepted; see [`OutboxError`].
    pub fn offer(&self, class: StreamClass, record: Vec<u8>) -> Result<(), OutboxError> {
        self.put(class, record, None, ROOM_WAIT, 1)
    }

    /// Like [`Outbox::offer`], with a receiver that resolves once the record is durable.
    ///
    /// # Errors
    /// If the record was not accepted; see [`OutboxError`].
    pub fn offer_durable(&self, class: StreamClass, record: Vec<u8>) -> Result<Committed, OutboxError> {
        let (done, committed) = oneshot::channel();
        self.put(class, record, Some(done), ROOM_WAIT, 1)?;
        Ok(committed)
    }

    /// Offers a record and blocks until it is durable, at most ten seconds; not for async code.
    ///
    /// # Errors
    /// If the record was not accepted or not stored; see [`OutboxError`]. After a timeout the record may
    /// still be stored.
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
                    "the disk did not respond within {} ms, the record may still be stored",
                    began.elapsed().as_millis()
                );
                Err(OutboxError::Storage(text))
            }
        }
    }

    /// Like [`Outbox::offer`] without waiting for room.
    ///
    /// # Errors
    /// If the record was not accepted; see [`OutboxError`].
    pub fn try_offer(&self, class: StreamClass, record: Vec<u8>) -> Result<(), OutboxError> {
        self.put(class, record, None, Duration::ZERO, 1)
    }

    /// Like [`Outbox::offer_durable`] without waiting for room.
    ///
    /// # Errors
    /// If the record was not accepted; see [`OutboxError`].
    pub fn try_offer_durable(&self, class: StreamClass, record: Vec<u8>) -> Result<Committed, OutboxError> {
        let (done, committed) = oneshot::channel();
        self.put(class, record, Some(done), Duration::ZERO, 1)?;
        Ok(committed)
    }

    /// Like [`Outbox::try_offer`] for expendable records: fails at half of the budget.
    ///
    /// # Errors
    /// If the record was not accepted; see [`OutboxError`].
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

    /// Requests a page of a stream; `reply` is called on the queue's thread and must not block.
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

    /// Acknowledges a stream's records up to `upto`, which are then removed.
    pub fn ack(&self, class: StreamClass, upto: u64) {
        let mut state = self.shared.lock();
        let ack = &mut state.acks[index(class)];
        *ack = Some(ack.map_or(upto, |earlier| earlier.max(upto)));
        drop(state);
        self.shared.work.notify_one();
    }

    /// Keeps a copy of a refused record, unless there are too many.
    pub fn dead_letter(&self, class: StreamClass, seq: u64, reason: &str) {
        let mut state = self.shared.lock();
        if !state.stopped {
            state.refusals.add(class, seq, reason);
        }
        drop(state);
        self.shared.work.notify_one();
    }

    /// Returns the age at the start of each stream that replaced an earlier one, in milliseconds; `None` for
    /// an original stream.
    #[must_use]
    pub fn minted_ago_ms(&self) -> [Option<u64>; 2] {
        self.minted_ago_ms
    }

    /// Requests a new id and new numbers for a stream; [`Outbox::streams`] shows them once done.
    pub fn remint(&self, class: StreamClass) {
        self.request(Request::Remint { class });
    }

    /// Returns a watch of the streams' identities and bounds, by class, updated after each commit and
    /// acknowledgement.
    #[must_use]
    pub fn streams(&self) -> watch::Receiver<[StreamInfo; 2]> {
        self.streams.clone()
    }

    /// Returns the numbers of a stream and its size in bytes, records that wait for a commit included.
    pub(crate) fn count(&self, class: StreamClass) -> (StreamCount, u64) {
        let state = self.shared.lock();
        let open = state.open.iter().filter(|offer| offer.pending.class == class);
        let stored = state.counts[index(class)];
        let count = StreamCount {
            waiting: stored.waiting + open.count() as u64,
            ..stored
        };
        (count, state.used[index(class)])
    }

    /// Returns the bytes on disk that the queue may take.
    pub(crate) fn budget(&self) -> u64 {
        self.shared.policy.budget()
    }

    /// Shortens the waits of senders because the agent is about to stop.
    pub fn leave(&self) {
        self.shared.lock().leaving = true;
    }

    /// Lets the thread commit all accepted records and end; later offers fail.
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
