use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use iottly_core::model::HookKey;

/// Hooks with new deliveries, from the store that commits them to the worker that sends them. As many as
/// there are hooks.
#[derive(Debug, Default)]
pub struct Fresh {
    hooks: Mutex<BTreeSet<HookKey>>,
    wake: Notify,
    dropped: AtomicU64,
}

impl Fresh {
    /// Says that there is something to send for these hooks; call it when that is committed.
    pub fn announce(&self, hooks: impl IntoIterator<Item = HookKey>) {
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

    /// Deliveries that were dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The hooks that were announced since the last call; waits until there are some. For one caller;
    /// cancel-safe.
    pub async fn take(&self) -> BTreeSet<HookKey> {
        loop {
            let taken = std::mem::take(&mut *self.hooks.lock().unwrap_or_else(PoisonError::into_inner));
            if !taken.is_empty() {
                return taken;
            }
            self.wake.notified().await;
        }
    }
}
