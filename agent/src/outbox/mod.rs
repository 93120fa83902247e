//! The durable queue: records for the cloud, numbered, kept until the cloud has committed them.
//!
//! [`Queue`] is the storage, [`SledQueue`] its implementation, [`Outbox`] the thread that owns it and commits
//! in groups.

mod chain;
mod closing;
mod dead_letter;
mod disk;
mod frame;
mod gaps;
mod handle;
mod head;
mod memory_copy;
mod owner;
mod page;
mod policy;
mod quarantine;
mod recover;
mod refusals;
mod removal;
mod segment;
mod shared;
mod sled_files;
mod sled_queue;
mod summary;
mod wait;

use std::path::PathBuf;

use iottly_protocol::{GapReason, StreamClass, StreamId, StreamInfo};

pub use dead_letter::DeadLetter;
pub use handle::Outbox;
pub use policy::{DEFAULT_DISK_BYTES, MIN_DISK_BYTES, Policy, WhenFull};
pub use shared::{Committed, OutboxError};
pub use sled_queue::SledQueue;
pub use summary::{GapSummary, QueueSummary, StreamSummary, summarise};

/// Stream classes in the order in which arrays hold them.
pub const CLASSES: [StreamClass; 2] = [StreamClass::History, StreamClass::Control];

/// Returns the position of a class in arrays.
#[must_use]
pub const fn index(class: StreamClass) -> usize {
    match class {
        StreamClass::History => 0,
        StreamClass::Control => 1,
    }
}

/// Record for the queue, which assigns its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Stream of the record.
    pub class: StreamClass,
    /// Encoded [`Record`](iottly_protocol::Record).
    pub record: Vec<u8>,
}

/// Piece of a stream as read by [`Queue::peek`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A record.
    Record {
        /// Number of the record.
        seq: u64,
        /// Bytes as pushed.
        record: Vec<u8>,
    },
    /// Numbers whose records are lost.
    Hole {
        /// First lost number.
        from: u64,
        /// Last lost number.
        to: u64,
        /// Reason of the loss.
        reason: GapReason,
    },
}

impl Item {
    /// Returns the last number that the item covers.
    #[must_use]
    pub const fn last(&self) -> u64 {
        match self {
            Self::Record { seq, .. } => *seq,
            Self::Hole { to, .. } => *to,
        }
    }
}

/// Consecutive items of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Stream that was read; differs from the expected one if a new stream has replaced it.
    pub stream: StreamId,
    /// First number of the read.
    pub from: u64,
    /// Consecutive items.
    pub items: Vec<Item>,
}

/// Loss that was found when a queue was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenNote {
    /// A part of the queue was unreadable and is quarantined; its records are a gap.
    Quarantined {
        /// New path.
        moved_to: PathBuf,
        /// Reason why the part is unreadable.
        reason: String,
    },
    /// Records at the end of a stream are missing; they are a gap.
    Lost {
        /// The stream.
        class: StreamClass,
        /// Number of records.
        count: u64,
    },
    /// The queue's head was unreadable; streams continue from the records, behind a gap.
    HeadLost,
}

/// Error of the queue's storage.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// Stored data is damaged.
    #[error("queue {path} is damaged: {reason}")]
    Damaged {
        /// The file or folder.
        path: String,
        /// Error of the storage engine.
        reason: String,
    },
    /// The file system failed.
    #[error("queue {path}: {reason}")]
    Io {
        /// The file or folder.
        path: String,
        /// Error of the system.
        reason: std::io::Error,
    },
}

/// Numbers of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamCount {
    /// Records that the cloud has not acknowledged, without the lost ones.
    pub waiting: u64,
    /// Records that were lost since the queue was opened.
    pub lost: u64,
}

/// Storage of the numbered streams of one device.
pub trait Queue: Send {
    /// Numbers and stores records; they are durable on return. Older messages make room according to the
    /// policy. After an error none of them is in the queue.
    ///
    /// # Errors
    /// If the storage fails; [`Queue::recover`] may repair it.
    fn push_batch(&mut self, batch: &[Pending]) -> Result<(), QueueError>;

    /// Reads from number `from` on: at most `max_records` items and, unless the first alone is larger,
    /// `max_bytes` of records. A damaged record is read as a hole.
    ///
    /// # Errors
    /// If the storage fails.
    fn peek(
        &mut self,
        class: StreamClass,
        from: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Page, QueueError>;

    /// Removes everything up to `upto`; unassigned numbers are ignored. The removal need not be durable on
    /// return.
    ///
    /// # Errors
    /// If the storage fails.
    fn ack(&mut self, class: StreamClass, upto: u64) -> Result<(), QueueError>;

    /// Copies a record to the bounded dead letters; the record stays in its stream until acknowledged. Each
    /// number of a stream is copied once, whatever the reasons. Returns `true` if the copy is new.
    ///
    /// # Errors
    /// If the storage fails.
    fn dead_letter(&mut self, class: StreamClass, seq: u64, reason: &str) -> Result<bool, QueueError>;

    /// Returns the dead letters, oldest first.
    ///
    /// # Errors
    /// If the storage fails.
    fn dead_letters(&self) -> Result<Vec<DeadLetter>, QueueError>;

    /// Gives the stream a new id and numbers its remaining records from 1 on; durable on return.
    ///
    /// # Errors
    /// If the storage fails.
    fn remint(&mut self, class: StreamClass) -> Result<(), QueueError>;

    /// Returns the time since the last [`Queue::remint`], counted while an agent runs, in milliseconds;
    /// `None` if there was none.
    fn minted_ago_ms(&self, class: StreamClass) -> Option<u64>;

    /// Returns identity and bounds of a stream.
    fn stream(&self, class: StreamClass) -> StreamInfo;

    /// Returns the numbers of a stream.
    fn count(&self, class: StreamClass) -> StreamCount;

    /// Returns the size of a stream on disk, in bytes.
    fn disk_bytes(&self, class: StreamClass) -> u64;

    /// Returns the bounds of the queue.
    fn policy(&self) -> Policy;

    /// Sets the time since the queue was opened, in milliseconds; records are stamped and expire by it.
    fn tick(&mut self, since_open_ms: u64);

    /// Opens the storage again after an error.
    ///
    /// # Errors
    /// If the storage still fails.
    fn recover(&mut self) -> Result<(), QueueError>;
}

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod failing_tests;
#[cfg(test)]
mod foreign_file_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod room_tests;
#[cfg(test)]
mod tests;
