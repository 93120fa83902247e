//! Upkeep of roll-ups: older histories are rolled up, and what is kept no longer is deleted. Every round is bounded; the
//! rest waits for the next.

use std::time::Duration;

use tokio::time::Instant;

use iottly_core::model::{Scope, UnixMs};
use iottly_store::{Result, SeriesStore};

/// Maximum number of messages rolled up in one transaction, so that none delays the ingest for long.
const FILL_STEP: usize = 250;
/// Maximum time of a round for older histories.
const FILL_TIME: Duration = Duration::from_secs(3);
/// Maximum number of devices whose old roll-ups are deleted in a round, and of roll-ups of each width of one device.
const PRUNED_DEVICES: usize = 50;
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

/// Deletes roll-ups of the next devices behind `after` that are kept no longer. Returns the last of these devices.
pub(crate) async fn prune(
    store: &dyn SeriesStore,
    after: Option<Scope>,
    now: UnixMs,
) -> Result<Option<Scope>> {
    store.prune_rollups(after, PRUNED_DEVICES, now, PRUNED_ROWS).await
}
