//! State that the outbox's handles share with the thread that owns the queue. Does no I/O.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use iottly_protocol::StreamClass;
use tokio::sync::oneshot;

use super::frame::OVERHEAD_BYTES;
use super::refusals::Refusals;
use super::{Page, Pending, Policy, WhenFull, index};

/// Why a record is not in the queue. Nothing was taken: the sender still has it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboxError {
    /// The byte budget is used up until the cloud has acknowledged more.
    #[error("the queue is full: {used} of {budget} bytes on disk are in use")]
    Full {
        /// Bytes on disk.
        used: u64,
        /// Bytes allowed.
        budget: u64,
    },
    /// Too much is waiting to be written.
    #[error("the queue is busy: {waiting} bytes are waiting to be written")]
    Busy {
        /// Bytes waiting.
        waiting: usize,
    },
    /// The record is too large for the wire.
    #[error("a record of {len} bytes is over the limit of {max}")]
    TooLarge {
        /// Its size in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The storage failed.
    #[error("the queue's storage failed: {0}")]
    Storage(String),
    /// The agent is stopping.
    #[error("the queue is closed")]
    Closed,
}

/// What the link asks of the queue's thread.
pub(super) enum Request {
    Peek {
        class: StreamClass,
        from: u64,
        max_records: usize,
        max_bytes: usize,
        reply: Reply,
    },
    Remint {
        class: StreamClass,
    },
}

pub(super) type Reply = Box<dyn FnOnce(Result<Page, OutboxError>) + Send>;

/// Resolves when a record is durable.
pub type Committed = oneshot::Receiver<Result<(), OutboxError>>;

pub(super) struct Shared {
    pub(super) policy: Policy,
    pub(super) state: Mutex<State>,
    pub(super) work: Condvar,
    pub(super) room: Condvar,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) open: VecDeque<Offer>,
    pub(super) open_bytes: usize,
    /// Bytes on disk and on their way there, by class.
    pub(super) used: [u64; 2],
    /// Highest number to forget, by class.
    pub(super) acks: [Option<u64>; 2],
    /// At most a few: the link has one read outstanding for each stream, and asks for one new stream an hour.
    pub(super) requests: VecDeque<Request>,
    pub(super) refusals: Refusals,
    /// Records cannot be stored at present.
    pub(super) failing: Option<Failing>,
    /// The agent is about to stop: nobody waits for long any more.
    pub(super) leaving: bool,
    pub(super) stopping: bool,
    pub(super) stopped: bool,
}

/// The latest failure to store records.
pub(super) struct Failing {
    pub(super) text: String,
    /// The time of the next attempt; until then a durable record is refused at once.
    pub(super) until: Instant,
}

pub(super) struct Offer {
    pub(super) pending: Pending,
    pub(super) done: Option<oneshot::Sender<Result<(), OutboxError>>>,
}

impl Shared {
    /// What counts against the budget of a class, and the budget; none when older records make room.
    pub(super) fn budget(&self, class: StreamClass, state: &State) -> Option<(u64, u64)> {
        match class {
            StreamClass::History if self.policy.when_full == WhenFull::DropOldest => None,
            StreamClass::History => Some((state.used[index(class)], self.policy.history_share())),
            StreamClass::Control => Some((state.used[index(class)], self.policy.control_share())),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a record is taken to need until it is on disk.
pub(super) const fn cost(len: usize) -> u64 {
    (len + OVERHEAD_BYTES) as u64
}
