use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use iottly_store::Store;
use iottly_store::webhooks::{Settled, WorkerId};

/// Most outcomes in one transaction.
const GROUP: usize = 512;
/// Shortest time between two transactions, so that recording does not stand in the way of storing messages.
const EVERY: Duration = Duration::from_millis(20);
/// Waits between attempts on a store that fails.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Records what came of deliveries, in groups, until the last sender is gone.
pub(super) async fn record(store: Arc<dyn Store>, worker: WorkerId, mut outcomes: mpsc::Receiver<Settled>) {
    let mut group = Vec::with_capacity(GROUP);
    while outcomes.recv_many(&mut group, GROUP).await > 0 {
        let (mut wait, longest) = RETRY;
        while let Err(error) = store.settle(worker, &group).await {
            tracing::error!(%error, outcomes = group.len(), "deliveries are recorded later");
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(longest);
        }
        let next = group
            .drain(..)
            .filter(|settled: &Settled| settled.announce)
            .map(|settled| settled.key);
        store.fresh().announce(next);
        if !outcomes.is_closed() {
            tokio::time::sleep(EVERY).await;
        }
    }
}
