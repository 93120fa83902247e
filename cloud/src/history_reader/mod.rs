//! Reads histories within limits that hold for all requests together.
//!
//! A tenant chooses the length of its messages, the amount it requests, the cost of its filters and the speed
//! at which it reads responses. Therefore entries are measured before they are read, filters are evaluated in
//! turn by project on threads of their own, and unread responses are counted.

mod error;
mod evaluation;
mod unread_responses;

use std::sync::Arc;
use std::thread::available_parallelism;

use iottly_protocol::ProjectId;

pub use error::ReadError;
pub use evaluation::{ENTRY_STEPS, FilterEvaluation, Until};
pub use unread_responses::UnreadResponse;

use crate::fair_queue::{FairQueue, FairQueueLimits, Turn};
use iottly_core::history::asks_for_sender;
use iottly_core::model::{Cursor, Scope, StoredMessage};
use iottly_filter::Filter;
use iottly_store::{DeviceStore, HistoryStore, ScanBounds};
use unread_responses::UnreadResponses;

/// Maximum size of messages that are read from the store at once, in bytes; a single longer one is read
/// alone.
pub const CHUNK_BYTES: u64 = 4 << 20;
/// Maximum size of a chunk that is read without waiting for a turn, in bytes.
const SMALL_BYTES: u64 = 64 << 10;
/// Limits of larger chunks in memory: of all projects, of one, and of waiting requests of one.
const CHUNKS: FairQueueLimits = FairQueueLimits {
    running: 8,
    running_per_key: 2,
    waiting_per_key: 8,
};
/// Maximum number of waiting requests of a project for a turn to evaluate a filter. A project evaluates one
/// filter at a time.
const WAITING_FILTERS: usize = 8;
/// Maximum number of filters evaluated at the same time, on any machine.
const MOST_FILTERS: usize = 4;

/// Queues and counts that all requests for histories share.
pub struct HistoryReader {
    filters: FairQueue<ProjectId>,
    chunks: FairQueue<ProjectId>,
    unread: Arc<UnreadResponses>,
}

impl Default for HistoryReader {
    fn default() -> Self {
        Self {
            filters: FairQueue::new(filter_queue_limits()),
            chunks: FairQueue::new(CHUNKS),
            unread: Arc::default(),
        }
    }
}

/// Returns the limits of filter evaluations: half of the machine's processors, so that the other half stays
/// free for other work.
pub(crate) fn filter_queue_limits() -> FairQueueLimits {
    let processors = available_parallelism().map_or(1, usize::from);
    FairQueueLimits {
        running: (processors / 2).clamp(1, MOST_FILTERS),
        running_per_key: 1,
        waiting_per_key: WAITING_FILTERS,
    }
}

/// Part of a history, newest first.
pub struct Part {
    /// Entries of the part.
    pub messages: Vec<StoredMessage>,
    /// True if there are older entries within the bounds.
    pub more: bool,
}

impl HistoryReader {
    /// Waits for a turn to evaluate a filter of a project over other things than its history. Turns of projects alternate.
    ///
    /// # Errors
    /// [`ReadError::Queue`] when too many requests of the project are waiting.
    pub async fn filter_turn(&self, project: ProjectId) -> Result<Turn<ProjectId>, ReadError> {
        Ok(self.filters.take(project).await?)
    }

    /// Waits for the project's turn to evaluate a filter over the history of a device, which is read if the filter asks
    /// for it.
    ///
    /// # Errors
    /// [`ReadError::Queue`] when too many requests of the project are waiting; errors of the store.
    pub async fn evaluation(
        &self,
        store: &dyn DeviceStore,
        scope: Scope,
        filter: Arc<Filter>,
    ) -> Result<FilterEvaluation, ReadError> {
        let turn = self.filters.take(scope.project).await?;
        let sender = if asks_for_sender(&filter) {
            store.sender(scope).await?
        } else {
            None
        };
        Ok(FilterEvaluation::new(filter, sender, turn))
    }

    /// Reads the newest entries within `bounds`: at most `limit` entries, and at most `bytes` unless the
    /// first alone is longer. For a large part, `turn` is acquired; the caller keeps it for as long as it
    /// keeps the messages.
    ///
    /// # Errors
    /// [`ReadError::Queue`] when too many requests of the project are waiting for a turn; errors of the
    /// store.
    pub async fn part(
        &self,
        store: &dyn HistoryStore,
        scope: Scope,
        bounds: ScanBounds,
        (limit, bytes): (usize, u64),
        turn: &mut Option<Turn<ProjectId>>,
    ) -> Result<Part, ReadError> {
        let mut sizes = store.entry_sizes(scope, bounds, limit + 1).await?;
        let all = sizes.len();
        let mut sum = 0;
        let fitting = sizes.iter().take(limit).take_while(|size| {
            sum += size.bytes;
            sum <= bytes
        });
        sizes.truncate(fitting.count().max(1));
        let (Some(newest), Some(oldest)) = (sizes.first(), sizes.last()) else {
            return Ok(Part {
                messages: Vec::new(),
                more: false,
            });
        };
        self.wait(scope.project, sizes.iter().map(|size| size.bytes).sum(), turn)
            .await?;
        let messages = store
            .entries_between(scope, newest.cursor, oldest.cursor, sizes.len())
            .await?;
        Ok(Part {
            messages,
            more: all > sizes.len(),
        })
    }

    /// Reads entries by their keys.
    ///
    /// # Errors
    /// See [`part`](Self::part).
    pub async fn entries(
        &self,
        store: &dyn HistoryStore,
        scope: Scope,
        keys: &[Cursor],
        bytes: u64,
        turn: &mut Option<Turn<ProjectId>>,
    ) -> Result<Vec<StoredMessage>, ReadError> {
        self.wait(scope.project, bytes, turn).await?;
        Ok(store.entries(scope, keys).await?)
    }

    async fn wait(
        &self,
        project: ProjectId,
        bytes: u64,
        turn: &mut Option<Turn<ProjectId>>,
    ) -> Result<(), ReadError> {
        if bytes > SMALL_BYTES && turn.is_none() {
            *turn = Some(self.chunks.take(project).await.map_err(ReadError::from)?);
        }
        Ok(())
    }

    /// Counts a response of `bytes` bytes until the client has received it; `None` for a small one.
    ///
    /// # Errors
    /// [`ReadError::Unread`] when the project has too many unread bytes, [`ReadError::Busy`] when all
    /// projects together have.
    pub fn hold(&self, project: ProjectId, bytes: u64) -> Result<Option<UnreadResponse>, ReadError> {
        if bytes <= SMALL_BYTES {
            Ok(None)
        } else {
            self.unread.hold(project, bytes).map(Some)
        }
    }
}
