//! Refusals of a read.

use iottly_filter::Undecided;
use iottly_store::StoreError;

use crate::turns::QueueFull;

/// Reason for which a part of a history was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Too many reads of the project wait already.
    #[error(transparent)]
    Queue(#[from] QueueFull),
    /// The project's earlier answers have to be read first.
    #[error("answers of the project wait to be read; read them before asking for more")]
    Unread,
    /// The answers of all projects together have reached their bound.
    #[error("too many long answers wait to be read; try again in a moment")]
    Busy,
    /// The filter costs too much for an entry.
    #[error(transparent)]
    Filter(#[from] Undecided),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The thread that evaluated the filter has ended.
    #[error("the filter was not evaluated: {0}")]
    Evaluation(#[from] tokio::task::JoinError),
}
