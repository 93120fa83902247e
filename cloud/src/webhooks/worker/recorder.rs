//! Task that records the outcomes of deliveries in the store, in groups.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::live::{LiveHub, Parts};
use iottly_store::WebhookStore;
use iottly_store::webhooks::{DeliveryResult, WorkerId};

/// Maximum number of outcomes in a transaction.
const GROUP: usize = 512;
/// Minimum time between two transactions, so that recording does not slow down the storing of messages.
const EVERY: Duration = Duration::from_millis(20);
/// Shortest and longest wait between attempts while the store fails.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Records the outcomes of deliveries in groups, until the last sender is dropped.
pub(super) async fn record(
    store: Arc<dyn WebhookStore>,
    live: Arc<LiveHub>,
    worker: WorkerId,
    mut outcomes: mpsc::Receiver<DeliveryResult>,
) {
    let mut group = Vec::with_capacity(GROUP);
    while outcomes.recv_many(&mut group, GROUP).await > 0 {
        let (mut wait, longest) = RETRY;
        while let Err(error) = store.settle(worker, &group).await {
            tracing::error!(%error, group.deliveries = group.len(), retry_ms = wait.as_millis(), "failed to record deliveries; retrying");
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(longest);
        }
        for result in &group {
            live.changed(result.key.project, None, Parts::WEBHOOK);
        }
        let next = group
            .drain(..)
            .filter(|result: &DeliveryResult| result.announce)
            .map(|result| result.key);
        store.pending_webhooks().announce(next);
        if !outcomes.is_closed() {
            tokio::time::sleep(EVERY).await;
        }
    }
}
