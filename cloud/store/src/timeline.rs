//! Events of a device's timeline other than commands and alerts, which have operations of their own.

use async_trait::async_trait;

use crate::error::Result;
use iottly_core::model::{AuditEntry, Scope, StoredMessage};
use iottly_core::series::Range;
use iottly_core::timeline::Update;

/// Store operations for timelines of devices.
#[async_trait]
pub trait TimelineStore: Send + Sync + 'static {
    /// Returns the entries of a device's history that its agent or the cloud wrote within a range, at most `limit`: the
    /// newest first, or the oldest first.
    async fn agent_entries(
        &self,
        scope: Scope,
        range: Range,
        newest: bool,
        limit: usize,
    ) -> Result<Vec<StoredMessage>>;
    /// Returns the entries of the audit log about a device within a range, newest first, at most `limit`.
    async fn device_changes(&self, scope: Scope, range: Range, limit: usize) -> Result<Vec<AuditEntry>>;
    /// Returns the updates of a device, that which was decided last first, at most `limit`.
    async fn device_updates(&self, scope: Scope, limit: usize) -> Result<Vec<Update>>;
}
