//! State that handles share with the thread that owns the queue. Does no I/O.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use iottly_protocol::StreamClass;
use tokio::sync::oneshot;

use super::frame::OVERHEAD_BYTES;
use super::refusals::Refusals;
use super::{Page, Pending, Policy, StreamCount, WhenFull, index};
use crate::watchdog::Part;

/// Reason why a record was not accepted. The sender keeps the record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboxError {
    /// The budget on disk is used up until the cloud has acknowledged more records.
    #[error("the queue is full: {used} of {budget} bytes on disk are in use")]
    Full {
        /// Bytes on disk.
        used: u64,
        /// Bytes allowed.
        budget: u64,
    },
    /// Too many records wait for a commit.
    #[error("the queue is busy: {waiting} bytes are waiting to be written")]
    Busy {
        /// Bytes that wait.
        waiting: usize,
    },
    /// The record is too large for the wire.
    #[error("a record of {len} bytes is over the limit of {max}")]
    TooLarge {
        /// Size of the record, in bytes.
        len: usize,
        /// Limit, in bytes.
        max: usize,
    },
    /// The storage failed.
    #[error("the queue's storage failed: {0}")]
    Storage(String),
    /// The agent is stopping.
    #[error("the queue is closed")]
    Closed,
}

/// Request of the link to the queue's thread.
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

/// State shared by all handles and the thread.
pub(super) struct Shared {
    pub(super) policy: Policy,
    pub(super) state: Mutex<State>,
    pub(super) work: Condvar,
    pub(super) room: Condvar,
    /// Progress of the thread, if it is watched.
    pub(super) part: OnceLock<Part>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) open: VecDeque<Offer>,
    pub(super) open_bytes: usize,
    /// Bytes on disk and waiting for a commit, by class.
    pub(super) used: [u64; 2],
    /// Numbers of the records on disk, by class.
    pub(super) counts: [StreamCount; 2],
    /// Highest acknowledged number to be processed, by class.
    pub(super) acks: [Option<u64>; 2],
    /// Requests of the link; few, as it has one read outstanding per stream and requests one new stream an
    /// hour.
    pub(super) requests: VecDeque<Request>,
    pub(super) refusals: Refusals,
    /// Latest failure, while records cannot be stored.
    pub(super) failing: Option<Failing>,
    /// The agent is about to stop; senders wait only briefly.
    pub(super) leaving: bool,
    pub(super) stopping: bool,
    pub(super) stopped: bool,
}

/// Failure to store records.
pub(super) struct Failing {
    pub(super) text: String,
    /// Time of the next attempt; until then durable records are refused at once.
    pub(super) until: Instant,
}

/// Accepted record and the sender's receiver, if the sender awaits durability.
pub(super) struct Offer {
    pub(super) pending: Pending,
    pub(super) done: Option<oneshot::Sender<Result<(), OutboxError>>>,
}

impl Shared {
    /// Returns used bytes and budget of a class; `None` if older records make room instead.
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

/// Returns the size that a record is assumed to need until it is on disk, in bytes.
pub(super) const fn cost(len: usize) -> u64 {
    (len + OVERHEAD_BYTES) as u64
}
