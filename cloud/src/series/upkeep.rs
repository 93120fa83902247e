//! Upkeep of roll-ups: older histories are rolled up, and what is kept no longer is deleted. Every round is bounded; the
//! rest waits for the next.

use std::collections::VecDeque;
use std::time::Duration;

use iottly_protocol::ProjectId;
use tokio::time::Instant;

use iottly_core::model::{Scope, UnixMs};
use iottly_store::{Result, SeriesStore};

/// Maximum number of messages rolled up in one transaction, so that none delays the ingest for long.
const FILL_STEP: usize = 250;
/// Maximum time of a round for older histories.
const FILL_TIME: Duration = Duration::from_secs(3);
/// Maximum time of a round for old roll-ups.
const PRUNE_TIME: Duration = Duration::from_secs(3);
/// Maximum number of devices that are looked at together, and of roll-ups of each width deleted in one transaction.
const PRUNED_DEVICES: usize = 500;
const PRUNED_ROWS: usize = 1000;

/// Rolls up a part of the histories from before roll-ups were kept.
pub(crate) async fn fill(store: &dyn SeriesStore) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < FILL_TIME {
        let step = Instant::now();
        if !store.fill_series(FILL_STEP).await? {
            break;
        }
        // At most half of the database's time for writing.
        tokio::time::sleep(step.elapsed()).await;
    }
    Ok(())
}

/// Place in the upkeep of roll-ups, which continues in the next round.
#[derive(Debug, Default)]
pub(crate) struct Pruning {
    after: Option<Scope>,
    /// Devices that have old roll-ups, each with its turn.
    left: VecDeque<Scope>,
    /// Projects of the devices that were looked at last: series of theirs that have become unused are forgotten.
    looked_at: Vec<ProjectId>,
}

/// Deletes roll-ups that are kept no longer, for a limited time; in the next round it continues. Devices take turns, and of
/// those without old roll-ups nothing is written.
///
/// # Errors
/// If the store fails; earlier deletions stay.
pub(crate) async fn prune(store: &dyn SeriesStore, state: &mut Pruning, now: UnixMs) -> Result<()> {
    prune_for(store, state, now, PRUNE_TIME).await
}

async fn prune_for(store: &dyn SeriesStore, state: &mut Pruning, now: UnixMs, time: Duration) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < time {
        let step = Instant::now();
        if let Some(scope) = state.left.pop_front() {
            if store.prune_rollups(scope, now, PRUNED_ROWS).await? {
                state.left.push_back(scope);
            }
            // At most half of the database's time for writing.
            tokio::time::sleep(step.elapsed()).await;
            continue;
        }
        for project in std::mem::take(&mut state.looked_at) {
            store.forget_series(project, now).await?;
        }
        let old = store.old_rollups(state.after, PRUNED_DEVICES, now).await?;
        state.after = old.last;
        state.left.extend(old.devices);
        state.looked_at = old.projects;
        if old.last.is_none() {
            break;
        }
    }
    Ok(())
}
