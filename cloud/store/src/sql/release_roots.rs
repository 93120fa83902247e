//! Records of published roots, and the versions that devices trust.

use iottly_protocol::{DeviceId, ProjectId};

use super::codec;
use super::db::{Conn, Pool, Row};
use crate::Result;
use iottly_core::model::{NewRoot, RecordedRoot, RootTrust, Scope, UnixMs};

/// Records a root; one of the same version replaces the record.
pub(super) async fn add(
    tx: &mut Conn,
    project: ProjectId,
    root: &NewRoot,
    author: &str,
    now: UnixMs,
) -> Result<u64> {
    sqlx::query(
        "INSERT INTO release_roots (project, version, author, published) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (project, version) DO UPDATE SET author = excluded.author, published = excluded.published",
    )
    .bind(codec::id(&project))
    .bind(codec::signed(root.version))
    .bind(author)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(1)
}

pub(super) async fn recorded(pool: &Pool, project: ProjectId) -> Result<Vec<RecordedRoot>> {
    let rows = sqlx::query(
        "SELECT version, author, published FROM release_roots WHERE project = $1 ORDER BY version",
    )
    .bind(codec::id(&project))
    .fetch_all(pool)
    .await?;
    let root = |row: &Row| {
        Ok(RecordedRoot {
            version: codec::unsigned(codec::get(row, "version")?, "release_roots", "version")?,
            author: codec::get(row, "author")?,
            published: codec::get(row, "published")?,
        })
    };
    rows.iter().map(root).collect()
}

pub(super) async fn trust(pool: &Pool, project: ProjectId) -> Result<Vec<RootTrust>> {
    let rows = sqlx::query(
        "SELECT root_version, count(*) AS n FROM devices WHERE project = $1 GROUP BY root_version ORDER BY root_version",
    )
    .bind(codec::id(&project))
    .fetch_all(pool)
    .await?;
    let trust = |row: &Row| {
        let version: Option<i64> = codec::get(row, "root_version")?;
        let devices = codec::unsigned(codec::get(row, "n")?, "devices", "root_version")?;
        Ok(RootTrust {
            version: version
                .map(|version| codec::unsigned(version, "devices", "root_version"))
                .transpose()?,
            devices: usize::try_from(devices).unwrap_or(usize::MAX),
        })
    };
    rows.iter().map(trust).collect()
}

pub(super) async fn version_of(pool: &Pool, scope: Scope) -> Result<Option<u64>> {
    let row = sqlx::query("SELECT root_version FROM devices WHERE project = $1 AND id = $2")
        .bind(codec::id(&scope.project))
        .bind(codec::id(&scope.device))
        .fetch_optional(pool)
        .await?;
    let version: Option<i64> = row
        .as_ref()
        .map(|row| codec::get(row, "root_version"))
        .transpose()?
        .flatten();
    version
        .map(|version| codec::unsigned(version, "devices", "root_version"))
        .transpose()
}

pub(super) async fn connected_below(
    pool: &Pool,
    project: ProjectId,
    version: u64,
    after: Option<DeviceId>,
    limit: usize,
) -> Result<Vec<DeviceId>> {
    let after = after.map(|id| codec::id(&id).to_vec()).unwrap_or_default();
    let rows = sqlx::query(
        "SELECT id FROM devices WHERE project = $1 AND id > $2 AND online = true \
         AND (root_version IS NULL OR root_version < $3) ORDER BY id LIMIT $4",
    )
    .bind(codec::id(&project))
    .bind(after)
    .bind(codec::signed(version))
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| Ok(DeviceId::from_bytes(codec::bytes(row, "devices", "id")?)))
        .collect()
}

pub(super) async fn releases_between(
    pool: &Pool,
    project: ProjectId,
    from: UnixMs,
    until: UnixMs,
) -> Result<usize> {
    let row = sqlx::query(
        "SELECT count(*) AS n FROM releases WHERE project = $1 AND created >= $2 AND created < $3",
    )
    .bind(codec::id(&project))
    .bind(from)
    .bind(until)
    .fetch_one(pool)
    .await?;
    let count = codec::unsigned(codec::get(&row, "n")?, "releases", "created")?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}
