//! Signed releases.

use std::collections::BTreeSet;

use async_trait::async_trait;
use iottly_protocol::{DeviceId, GroupId, ProjectId};

use super::db::{Conn, Row};
use super::{Backend, codec, release_roots, rollout_upkeep};
use crate::{ReleaseStore, Result};
use iottly_core::model::{RecordedRoot, RootTrust, Scope, StoredRelease, UnixMs};

#[async_trait]
impl ReleaseStore for Backend {
    async fn releases(
        &self,
        project: ProjectId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<StoredRelease>> {
        let rows = sqlx::query(
            "SELECT seq, path, branch, revision, sha256, size, source, capabilities, grace_ms, author, created FROM releases \
             WHERE project = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3",
        )
        .bind(codec::id(&project))
        .bind(before.map_or(i64::MAX, codec::signed))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(release).collect()
    }

    async fn one_release(&self, project: ProjectId, seq: u64) -> Result<Option<StoredRelease>> {
        let row = sqlx::query(
            "SELECT seq, path, branch, revision, sha256, size, source, capabilities, grace_ms, author, created FROM releases \
             WHERE project = $1 AND seq = $2",
        )
        .bind(codec::id(&project))
        .bind(codec::signed(seq))
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(release).transpose()
    }

    async fn deployed(&self, project: ProjectId, group: GroupId, limit: usize) -> Result<Vec<StoredRelease>> {
        let rows = sqlx::query(
            "SELECT r.seq, r.path, r.branch, r.revision, r.sha256, r.size, r.source, r.capabilities, r.grace_ms, r.author, r.created \
             FROM rollouts o JOIN releases r ON r.project = o.project AND r.seq = o.release_seq \
             WHERE o.project = $1 AND o.group_id = $2 AND o.status IN ('deployed', 'rolled_back') \
             ORDER BY o.number DESC LIMIT $3",
        )
        .bind(codec::id(&project))
        .bind(codec::id(&group))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(release).collect()
    }

    async fn needed_releases(&self, project: ProjectId) -> Result<BTreeSet<u64>> {
        rollout_upkeep::needed(&self.readers, project).await
    }

    async fn releases_between(&self, project: ProjectId, from: UnixMs, until: UnixMs) -> Result<usize> {
        release_roots::releases_between(&self.readers, project, from, until).await
    }

    async fn release_roots(&self, project: ProjectId) -> Result<Vec<RecordedRoot>> {
        release_roots::recorded(&self.readers, project).await
    }

    async fn root_trust(&self, project: ProjectId) -> Result<Vec<RootTrust>> {
        release_roots::trust(&self.readers, project).await
    }

    async fn root_version(&self, scope: Scope) -> Result<Option<u64>> {
        release_roots::version_of(&self.readers, scope).await
    }

    async fn connected_below_root(
        &self,
        project: ProjectId,
        version: u64,
        after: Option<DeviceId>,
        limit: usize,
    ) -> Result<Vec<DeviceId>> {
        release_roots::connected_below(&self.readers, project, version, after, limit).await
    }
}

pub(super) async fn add(
    tx: &mut Conn,
    project: ProjectId,
    release: &StoredRelease,
    author: &str,
    now: UnixMs,
) -> Result<u64> {
    let capabilities = serde_json::to_string(&release.capabilities).expect("texts serialize without failing");
    sqlx::query(
        "INSERT INTO releases (project, seq, path, branch, revision, sha256, size, source, capabilities, grace_ms, author, created) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(codec::id(&project))
    .bind(codec::signed(release.seq))
    .bind(&release.path)
    .bind(&release.branch)
    .bind(codec::signed(release.revision))
    .bind(&release.sha256)
    .bind(codec::signed(release.size))
    .bind(&release.source)
    .bind(capabilities)
    .bind(codec::signed(release.grace_ms))
    .bind(author)
    .bind(now)
    .execute(tx)
    .await
    .map_err(|error| super::taken(error, "release", &release.seq.to_string()))?;
    Ok(1)
}

fn release(row: &Row) -> Result<StoredRelease> {
    let number = |field| codec::unsigned(codec::get(row, field)?, "releases", field);
    Ok(StoredRelease {
        seq: number("seq")?,
        path: codec::get(row, "path")?,
        branch: codec::get(row, "branch")?,
        revision: number("revision")?,
        sha256: codec::get(row, "sha256")?,
        size: number("size")?,
        source: codec::get(row, "source")?,
        capabilities: codec::json(codec::get(row, "capabilities")?, "releases", "capabilities")?,
        grace_ms: number("grace_ms")?,
        author: codec::get(row, "author")?,
        created: codec::get(row, "created")?,
    })
}
