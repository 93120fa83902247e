//! The evaluation of a filter, on a thread that may wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use iottly_protocol::ProjectId;

use super::ReadError;
use crate::turns::Turn;
use iottly_core::history::document;
use iottly_core::model::StoredMessage;
use iottly_filter::{Budget, Filter, Undecided};

/// Steps that one entry may take; more is a filter that is too expensive. About a quarter of a second.
pub const ENTRY_STEPS: u64 = 50_000_000;

/// A filter and the turn to evaluate it. Dropping it ends an evaluation that is under way.
pub struct Sieve {
    filter: Arc<Filter>,
    /// Shared with the evaluation, which keeps the turn until it has really ended.
    turn: Arc<Turn<ProjectId>>,
    cancelled: Arc<AtomicBool>,
}

/// Entries that came through a sieve.
pub struct Sifted {
    /// Entries that match, in their order.
    pub found: Vec<StoredMessage>,
    /// Number of entries that were looked at, from the first on.
    pub seen: usize,
}

/// Reasons to stop before the last entry.
#[derive(Clone, Copy)]
pub struct Until {
    /// Entries that match.
    pub found: usize,
    /// Bytes of entries that match.
    pub bytes: u64,
    /// The moment; none for no haste.
    pub time: Option<Instant>,
}

impl Sieve {
    pub(super) fn new(filter: Arc<Filter>, turn: Turn<ProjectId>) -> Self {
        Self {
            filter,
            turn: Arc::new(turn),
            cancelled: Arc::default(),
        }
    }

    /// Evaluates the filter on entries, one after the other, until it has found enough or the time is up.
    /// Looks at one entry at least.
    ///
    /// # Errors
    /// 400 when the filter is too expensive for an entry.
    pub async fn sift(&self, messages: Vec<StoredMessage>, until: Until) -> Result<Sifted, ReadError> {
        let (filter, cancelled, turn) = (
            Arc::clone(&self.filter),
            Arc::clone(&self.cancelled),
            Arc::clone(&self.turn),
        );
        let sifting = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            sift(&filter, messages, until, &cancelled)
        });
        let sifted = sifting.await?;
        Ok(sifted?)
    }
}

impl Drop for Sieve {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}

fn sift(
    filter: &Filter,
    messages: Vec<StoredMessage>,
    until: Until,
    cancelled: &AtomicBool,
) -> Result<Sifted, Undecided> {
    let (mut found, mut seen, mut bytes) = (Vec::new(), 0, 0);
    for message in messages {
        if cancelled.load(Ordering::Relaxed) {
            return Err(Undecided::Cancelled);
        }
        let mut budget = Budget::steps(ENTRY_STEPS).cancelled_by(cancelled);
        let matches = filter.matches(&document(&message), &mut budget)?;
        seen += 1;
        if matches {
            bytes += message.payload.get().len() as u64;
            found.push(message);
        }
        if found.len() >= until.found
            || bytes >= until.bytes
            || until.time.is_some_and(|time| Instant::now() >= time)
        {
            break;
        }
    }
    Ok(Sifted { found, seen })
}
