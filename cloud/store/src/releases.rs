//! Signed releases, for reading. Their files are not in the database.

use std::collections::BTreeSet;

use async_trait::async_trait;
use iottly_protocol::{DeviceId, GroupId, ProjectId};

use crate::error::Result;
use iottly_core::model::{RecordedRoot, RootTrust, Scope, StoredRelease, UnixMs};

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
    /// Returns the number of releases that were made from one date on and before another.
    async fn releases_between(&self, project: ProjectId, from: UnixMs, until: UnixMs) -> Result<usize>;
    /// Returns the records of roots that were published through the cloud, by version.
    async fn release_roots(&self, project: ProjectId) -> Result<Vec<RecordedRoot>>;
    /// Returns the numbers of a project's devices by the version of the root that they trust.
    async fn root_trust(&self, project: ProjectId) -> Result<Vec<RootTrust>>;
    /// Returns the version of the root that a device trusts; none before its first report.
    async fn root_version(&self, scope: Scope) -> Result<Option<u64>>;
    /// Returns connected devices with ids after `after` that trust an older root than this version, by id, at most `limit`.
    async fn connected_below_root(
        &self,
        project: ProjectId,
        version: u64,
        after: Option<DeviceId>,
        limit: usize,
    ) -> Result<Vec<DeviceId>>;
}
