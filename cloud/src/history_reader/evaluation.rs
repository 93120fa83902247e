//! Evaluates a filter over entries, on a thread that may block.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use iottly_protocol::ProjectId;

use super::ReadError;
use crate::fair_queue::Turn;
use iottly_core::history::{Sender, document};
use iottly_core::model::StoredMessage;
use iottly_filter::{Budget, Filter, Undecided};

/// Maximum number of evaluation steps for an entry, about a quarter of a second; beyond it the filter is too
/// expensive.
pub const ENTRY_STEPS: u64 = 50_000_000;

/// Filter with the turn to evaluate it. Dropping it ends a running evaluation.
pub struct FilterEvaluation {
    filter: Arc<Filter>,
    /// Device of the history, if the filter asks for it.
    sender: Option<Arc<Sender>>,
    /// Shared with the evaluation, which keeps the turn until it has really ended.
    turn: Arc<Turn<ProjectId>>,
    cancelled: Arc<AtomicBool>,
}

/// Result of evaluating a filter over entries.
pub struct Selected {
    /// Entries that match, in their order.
    pub found: Vec<StoredMessage>,
    /// Number of entries that were examined, from the first.
    pub seen: usize,
}

/// Conditions to stop before the last entry.
#[derive(Clone, Copy)]
pub struct Until {
    /// Number of matching entries.
    pub found: usize,
    /// Size of the matching entries, in bytes.
    pub bytes: u64,
    /// Time to stop; `None` for no time limit.
    pub time: Option<Instant>,
}

impl FilterEvaluation {
    pub(super) fn new(filter: Arc<Filter>, sender: Option<Sender>, turn: Turn<ProjectId>) -> Self {
        Self {
            filter,
            sender: sender.map(Arc::new),
            turn: Arc::new(turn),
            cancelled: Arc::default(),
        }
    }

    /// Evaluates the filter on entries, one after the other, until a condition of `until` is met. Examines at
    /// least one entry.
    ///
    /// # Errors
    /// [`ReadError::Filter`] when the filter is too expensive for an entry.
    pub async fn select(&self, messages: Vec<StoredMessage>, until: Until) -> Result<Selected, ReadError> {
        let (filter, sender, cancelled, turn) = (
            Arc::clone(&self.filter),
            self.sender.clone(),
            Arc::clone(&self.cancelled),
            Arc::clone(&self.turn),
        );
        let selecting = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            select((&filter, sender.as_deref()), messages, until, &cancelled)
        });
        let selected = selecting.await?;
        Ok(selected?)
    }
}

impl Drop for FilterEvaluation {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}

fn select(
    (filter, sender): (&Filter, Option<&Sender>),
    messages: Vec<StoredMessage>,
    until: Until,
    cancelled: &AtomicBool,
) -> Result<Selected, Undecided> {
    let (mut found, mut seen, mut bytes) = (Vec::new(), 0, 0);
    for message in messages {
        if cancelled.load(Ordering::Relaxed) {
            return Err(Undecided::Cancelled);
        }
        let mut budget = Budget::steps(ENTRY_STEPS).cancelled_by(cancelled);
        let matches = filter.matches(&document(&message, sender), &mut budget)?;
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
    Ok(Selected { found, seen })
}
