//! Changes to projects, each with its audit entry.

use async_trait::async_trait;
use iottly_protocol::ProjectId;

use crate::error::Result;
use iottly_core::model::{AuditEntry, Change, Changed, Principal, UnixMs};

/// Store operations that change projects, and their audit log.
#[async_trait]
pub trait ChangeStore: Send + Sync + 'static {
    /// Applies a change to a project and writes its audit entry, in one transaction.
    async fn change(
        &self,
        project: ProjectId,
        by: &Principal,
        change: Change,
        now: UnixMs,
    ) -> Result<Changed>;
    /// Returns entries of a project's audit log with numbers below `before`, newest first, at most `limit`.
    async fn audit(&self, project: ProjectId, before: Option<u64>, limit: usize) -> Result<Vec<AuditEntry>>;
    /// Returns those of the same entries that were made between two times, both included, at most `limit`.
    async fn audit_between(
        &self,
        project: ProjectId,
        before: Option<u64>,
        times: (Option<UnixMs>, Option<UnixMs>),
        limit: usize,
    ) -> Result<Vec<AuditEntry>>;
}
