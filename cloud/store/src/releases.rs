//! Signed releases, for reading. Their files are not in the database.

use std::collections::BTreeSet;

use async_trait::async_trait;
use iottly_protocol::{GroupId, ProjectId};

use crate::error::Result;
use iottly_core::model::StoredRelease;

/// Store operations that read signed releases.
#[async_trait]
pub trait ReleaseStore: Send + Sync + 'static {
    /// Returns releases of a project with numbers below `before`, newest first, at most `limit`.
    async fn releases(
        &self,
        project: ProjectId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<StoredRelease>>;
    /// Returns one release.
    async fn one_release(&self, project: ProjectId, seq: u64) -> Result<Option<StoredRelease>>;
    /// Returns the releases of completed rollouts of a group, newest rollout first, at most `limit`.
    async fn deployed(&self, project: ProjectId, group: GroupId, limit: usize) -> Result<Vec<StoredRelease>>;
    /// Returns the releases that active rollouts install, and those that groups run or may return to.
    async fn needed_releases(&self, project: ProjectId) -> Result<BTreeSet<u64>>;
}
