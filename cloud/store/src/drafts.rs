//! Drafts of code. They are no part of a branch, so they are changed without an audit entry.

use async_trait::async_trait;
use iottly_protocol::ProjectId;

use crate::error::Result;
use iottly_core::model::{Actor, Draft};

/// Store operations for drafts of code. Each author reaches only its own.
#[async_trait]
pub trait DraftStore: Send + Sync + 'static {
    /// Returns the drafts of an author on a branch, by file.
    async fn drafts(&self, project: ProjectId, branch: &str, author: Actor) -> Result<Vec<Draft>>;
    /// Returns one draft.
    async fn draft(
        &self,
        project: ProjectId,
        branch: &str,
        author: Actor,
        file: &str,
    ) -> Result<Option<Draft>>;
    /// Keeps a draft in place of an earlier one. Drafts that were not changed for
    /// [`DRAFT_KEPT_MS`](iottly_core::model::DRAFT_KEPT_MS) are deleted first.
    ///
    /// # Errors
    /// If the branch does not exist, or the drafts have reached a limit.
    async fn keep_draft(&self, project: ProjectId, branch: &str, author: Actor, draft: &Draft) -> Result<()>;
    /// Deletes a draft. Returns false if there was none.
    async fn drop_draft(&self, project: ProjectId, branch: &str, author: Actor, file: &str) -> Result<bool>;
}
