//! The durable queue: what the device has to tell the cloud, numbered, until the cloud has committed it.
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

/// The stream classes in the order in which arrays hold them.
pub const CLASSES: [StreamClass; 2] = [StreamClass::History, StreamClass::Control];

/// Position of a class in arrays.
#[must_use]
pub const fn index(class: StreamClass) -> usize {
    match class {
        StreamClass::History => 0,
        StreamClass::Control => 1,
    }
}

/// A record on its way into the queue; it gets its number there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The stream it goes to.
    pub class: StreamClass,
    /// The encoded [`Record`](iottly_protocol::Record).
    pub record: Vec<u8>,
}

/// One piece of a stream as [`Queue::peek`] reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A record.
    Record {
        /// Its number.
        seq: u64,
        /// Its bytes as pushed.
        record: Vec<u8>,
    },
    /// Numbers that the storage no longer gives back.
    Hole {
        /// First lost number.
        from: u64,
        /// Last lost number.
        to: u64,
        /// Why.
        reason: GapReason,
    },
}

impl Item {
    /// The last number that the item covers.
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
    /// The stream that was read; another one than expected when it was minted anew in between.
    pub stream: StreamId,
    /// The number that the read started from.
    pub from: u64,
    /// What was found, without a hole between the items.
    pub items: Vec<Item>,
}

/// What opening a queue had to give up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenNote {
    /// A part of the queue was unreadable and was moved aside; its records are a gap.
    Quarantined {
        /// Where it is now.
        moved_to: PathBuf,
        /// Why it could not be read.
        reason: String,
    },
    /// Records at the end of a stream are not there any more; they are a gap.
    Lost {
        /// The stream.
        class: StreamClass,
        /// How many.
        count: u64,
    },
    /// The queue's head was unreadable; streams continue as far as the records tell, behind a gap.
    HeadLost,
}

/// Why the queue's storage did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// What is stored is damaged.
    #[error("queue {path} is damaged: {reason}")]
    Damaged {
        /// The file or folder.
        path: String,
        /// What the storage engine says.
        reason: String,
    },
    /// The file system failed.
    #[error("queue {path}: {reason}")]
    Io {
        /// The file or folder.
        path: String,
        /// What the system says.
        reason: std::io::Error,
    },
}

/// Storage of the numbered streams of one device.
pub trait Queue: Send {
    /// Numbers and stores records; durable when it returns. Older messages make room as the policy says.
    /// Either all of them are in the queue or, after an error, none counts as pushed.
    ///
    /// # Errors
    /// When the storage fails; [`Queue::recover`] may mend it.
    fn push_batch(&mut self, batch: &[Pending]) -> Result<(), QueueError>;

    /// Reads from number `from` on: at most `max_records` items and, unless the first alone is larger,
    /// `max_bytes` of records.
    ///
    /// # Errors
    /// When the storage fails. A damaged record is no error but a hole.
    fn peek(
        &mut self,
        class: StreamClass,
        from: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Page, QueueError>;

    /// Forgets everything up to `upto`; numbers that were never given are ignored. Need not be durable when
    /// it returns.
    ///
    /// # Errors
    /// When the storage fails.
    fn ack(&mut self, class: StreamClass, upto: u64) -> Result<(), QueueError>;

    /// Copies a record to the bounded dead letters; it stays in its stream until acknowledged. Each number of
    /// a stream is kept once, whatever the reasons: answers whether this one was new.
    ///
    /// # Errors
    /// When the storage fails.
    fn dead_letter(&mut self, class: StreamClass, seq: u64, reason: &str) -> Result<bool, QueueError>;

    /// The dead letters, oldest first.
    ///
    /// # Errors
    /// When the storage fails.
    fn dead_letters(&self) -> Result<Vec<DeadLetter>, QueueError>;

    /// Gives the stream a new id and numbers what it has left from 1 on; durable when it returns.
    ///
    /// # Errors
    /// When the storage fails.
    fn remint(&mut self, class: StreamClass) -> Result<(), QueueError>;

    /// How long ago [`Queue::remint`] was last done, in the time that the agent runs, milliseconds; none when
    /// it never was.
    fn minted_ago_ms(&self, class: StreamClass) -> Option<u64>;

    /// Identity and bounds of a stream.
    fn stream(&self, class: StreamClass) -> StreamInfo;

    /// Bytes on disk that a stream takes.
    fn disk_bytes(&self, class: StreamClass) -> u64;

    /// The queue's bounds.
    fn policy(&self) -> Policy;

    /// Tells the queue the time since it was opened, milliseconds; it dates records and their expiry.
    fn tick(&mut self, since_open_ms: u64);

    /// Opens the storage again after an error.
    ///
    /// # Errors
    /// When it still fails.
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
mod tests;
