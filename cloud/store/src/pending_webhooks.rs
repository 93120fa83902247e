//! Announces new deliveries from the store to the worker, and counts dropped ones.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use iottly_core::model::WebhookKey;

/// Webhooks with new deliveries, announced by the store that commits them to the worker that sends them. At
/// most one entry per webhook.
#[derive(Debug, Default)]
pub struct PendingWebhooks {
    hooks: Mutex<BTreeSet<WebhookKey>>,
    wake: Notify,
    dropped: AtomicU64,
}

impl PendingWebhooks {
    /// Announces new deliveries of these webhooks; called after they are committed.
    pub fn announce(&self, hooks: impl IntoIterator<Item = WebhookKey>) {
        let mut known = self.hooks.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(hooks);
        if !known.is_empty() {
            self.wake.notify_one();
        }
    }

    /// Counts deliveries that were dropped.
    pub fn drop_counted(&self, dropped: u64) {
        self.dropped.fetch_add(dropped, Ordering::Relaxed);
    }

    /// Returns the number of deliveries that were dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Returns the webhooks that were announced since the last call; waits until there are some. For a single
    /// caller; cancel-safe.
    pub async fn take(&self) -> BTreeSet<WebhookKey> {
        loop {
            let taken = std::mem::take(&mut *self.hooks.lock().unwrap_or_else(PoisonError::into_inner));
            if !taken.is_empty() {
                return taken;
            }
            self.wake.notified().await;
        }
    }
}
