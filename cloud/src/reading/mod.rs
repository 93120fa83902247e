//! Histories, read within bounds that hold for all requests together.
//!
//! A tenant chooses how long its messages are, how much it asks for, what its filters cost and how slowly it
//! reads the answers. So entries are measured before they are read, filters are evaluated one project after
//! the other on threads that serve nobody else, and answers that wait to be read are counted.

mod error;
mod sieve;
mod unread;

use std::sync::Arc;
use std::thread::available_parallelism;

use iottly_protocol::ProjectId;

pub use error::ReadError;
pub use sieve::{ENTRY_STEPS, Sieve, Until};
pub use unread::Held;

use crate::turns::{Turn, TurnLimits, Turns};
use iottly_core::model::{Cursor, Scope, StoredMessage};
use iottly_filter::Filter;
use iottly_store::{ScanBounds, Store};
use unread::Unread;

/// Most bytes of messages that are read from the store at once, unless a single one is longer.
pub const CHUNK_BYTES: u64 = 4 << 20;
/// Chunks of up to so many bytes are read without waiting for a turn.
const SMALL_BYTES: u64 = 64 << 10;
/// Larger chunks in memory at the same time: of all projects, of one, and requests of one that wait.
const CHUNKS: TurnLimits = TurnLimits {
    running: 8,
    running_per_key: 2,
    waiting_per_key: 8,
};
/// Requests of one project that wait until it is their turn to evaluate a filter; one of a project is
/// evaluated at a time.
const WAITING_FILTERS: usize = 8;
/// Most filters that are evaluated at the same time, whatever the machine.
const MOST_FILTERS: usize = 4;

/// Queues and counts that all requests for histories share.
pub struct Reading {
    filters: Turns<ProjectId>,
    chunks: Turns<ProjectId>,
    unread: Arc<Unread>,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            filters: Turns::new(filter_turns()),
            chunks: Turns::new(CHUNKS),
            unread: Arc::default(),
        }
    }
}

/// Limits of evaluations: half of the machine's processors, so that the other half serves everybody.
pub fn filter_turns() -> TurnLimits {
    let processors = available_parallelism().map_or(1, usize::from);
    TurnLimits {
        running: (processors / 2).clamp(1, MOST_FILTERS),
        running_per_key: 1,
        waiting_per_key: WAITING_FILTERS,
    }
}

/// A part of a history, newest first.
pub struct Part {
    pub messages: Vec<StoredMessage>,
    /// Set when there are entries behind it.
    pub more: bool,
}

impl Reading {
    /// Waits until it is the project's turn to evaluate a filter.
    ///
    /// # Errors
    /// 429 when too many requests of the project wait already.
    pub async fn sieve(&self, project: ProjectId, filter: Arc<Filter>) -> Result<Sieve, ReadError> {
        Ok(Sieve::new(
            filter,
            self.filters.take(project).await.map_err(ReadError::from)?,
        ))
    }

    /// Reads the newest entries within `bounds`: at most `limit` entries, and at most `bytes` unless the
    /// first alone is longer. `turn` is taken when they are many bytes, and kept by the caller for as long as
    /// it keeps them.
    ///
    /// # Errors
    /// 429 when too many requests of the project wait for a turn; what the store fails with.
    pub async fn part(
        &self,
        store: &dyn Store,
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
    /// As [`part`](Self::part).
    pub async fn entries(
        &self,
        store: &dyn Store,
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

    /// Counts an answer of so many bytes until it is read; none for a small one.
    ///
    /// # Errors
    /// 429 when the project leaves too much unread, 503 when all together do.
    pub fn hold(&self, project: ProjectId, bytes: u64) -> Result<Option<Held>, ReadError> {
        if bytes <= SMALL_BYTES {
            Ok(None)
        } else {
            self.unread.hold(project, bytes).map(Some)
        }
    }
}
