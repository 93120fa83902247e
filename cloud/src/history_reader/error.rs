//! Error of reading a history.

use iottly_filter::Undecided;
use iottly_store::StoreError;

use crate::fair_queue::QueueFull;

/// Reason for which a part of a history was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Too many reads of the project are waiting.
    #[error(transparent)]
    Queue(#[from] QueueFull),
    /// The project has too many unread responses.
    #[error("the project has too many unread responses; read them before requesting more")]
    Unread,
    /// All projects together have too many unread responses.
    #[error("too many long responses are unread; try again in a moment")]
    Busy,
    /// The filter is too expensive for an entry.
    #[error(transparent)]
    Filter(#[from] Undecided),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The thread that evaluated the filter panicked.
    #[error("failed to evaluate the filter: {0}")]
    Evaluation(#[from] tokio::task::JoinError),
}
