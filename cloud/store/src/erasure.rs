//! Deletion in bounded steps: data of deleted devices, and old messages. Decides nothing about retention.

use async_trait::async_trait;

use crate::error::Result;
use iottly_core::model::{Scope, UnixMs};

/// Store operations that delete data in bounded steps.
#[async_trait]
pub trait ErasureStore: Send + Sync + 'static {
    /// Erases part of the data of one deleted device, at most `limit` rows per table. Returns false when no
    /// erasure is due.
    ///
    /// A device whose data is gone is checked once more after the settling time; until then it takes no steps
    /// from other erasures.
    async fn erase_step(&self, now: UnixMs, limit: usize) -> Result<bool>;
    /// Erases part of the data of this deleted device, at most `limit` rows per table. Returns false when
    /// nothing is left.
    async fn erase_device_step(&self, scope: Scope, limit: usize) -> Result<bool>;
    /// Deletes at most `limit` messages of a device that were received before `before`, oldest first. Returns
    /// their number.
    async fn drop_older(&self, scope: Scope, before: UnixMs, limit: usize) -> Result<u64>;
}
