//! Deployment groups, and moves of their members.

use iottly_protocol::{DeviceId, GroupId, ProjectId};

use super::db::{Conn, Pool, Row};
use super::{branches, codec, full, missing, rollouts, taken, tokens};
use crate::{Result, StoreError};
use iottly_core::model::{FollowedBranch, Group, ORPHANED, RolloutStatus, UnixMs};

/// Maximum number of deployment groups of a project.
const MAX_GROUPS: i64 = 1000;

pub(super) async fn create(
    connection: &mut Conn,
    project: ProjectId,
    id: GroupId,
    name: &str,
    branch: Option<&str>,
) -> Result<()> {
    sqlx::query("INSERT INTO groups (project, id, name, branch) VALUES ($1, $2, $3, $4)")
        .bind(codec::id(&project))
        .bind(codec::id(&id))
        .bind(name)
        .bind(branch.unwrap_or_default())
        .execute(connection)
        .await
        .map_err(|error| taken(error, "deployment group", name))?;
    Ok(())
}

/// Adds a group that follows an existing branch or none, within the project's limit.
pub(super) async fn add(
    tx: &mut Conn,
    project: ProjectId,
    id: GroupId,
    name: &str,
    branch: Option<&str>,
) -> Result<u64> {
    let row = sqlx::query("SELECT count(*) AS n FROM groups WHERE project = $1")
        .bind(codec::id(&project))
        .fetch_one(&mut *tx)
        .await?;
    full(codec::get(&row, "n")?, "deployment groups", MAX_GROUPS)?;
    if let Some(branch) = branch {
        branches::must_exist(tx, project, branch).await?;
    }
    create(tx, project, id, name, branch).await?;
    Ok(1)
}

pub(super) async fn update(
    tx: &mut Conn,
    project: ProjectId,
    id: GroupId,
    name: Option<&str>,
    branch: Option<&FollowedBranch>,
) -> Result<u64> {
    let (old_name, old_branch) = named(tx, project, id).await?;
    let old_branch = old_branch.as_deref();
    let name = name.unwrap_or(&old_name);
    let branch = branch.map_or(old_branch, FollowedBranch::name);
    if name == old_name && branch == old_branch {
        return Ok(0);
    }
    if old_name == ORPHANED && name != ORPHANED {
        return Err(StoreError::Refused(format!(
            "deployment group {ORPHANED:?} keeps its name"
        )));
    }
    if branch != old_branch
        && let Some(branch) = branch
    {
        branches::must_exist(tx, project, branch).await?;
    }
    sqlx::query("UPDATE groups SET name = $3, branch = $4 WHERE project = $1 AND id = $2")
        .bind(codec::id(&project))
        .bind(codec::id(&id))
        .bind(name)
        .bind(branch.unwrap_or_default())
        .execute(tx)
        .await
        .map_err(|error| taken(error, "deployment group", name))?;
    Ok(1)
}

/// Removes a group; its devices return to `_orphaned`, and its rollout is abandoned.
pub(super) async fn delete(tx: &mut Conn, project: ProjectId, id: GroupId, now: UnixMs) -> Result<u64> {
    let (name, _) = named(tx, project, id).await?;
    if name == ORPHANED {
        return Err(StoreError::Refused(format!(
            "deployment group {ORPHANED:?} cannot be deleted"
        )));
    }
    rollouts::give_up(tx, project, id, "its deployment group was deleted", now).await?;
    let fallback = or_orphaned(tx, project, None).await?;
    sqlx::query("UPDATE devices SET group_id = $3 WHERE project = $1 AND group_id = $2")
        .bind(codec::id(&project))
        .bind(codec::id(&id))
        .bind(codec::id(&fallback))
        .execute(&mut *tx)
        .await?;
    tokens::revoke_bound(tx, project, id).await?;
    let done = sqlx::query("DELETE FROM groups WHERE project = $1 AND id = $2")
        .bind(codec::id(&project))
        .bind(codec::id(&id))
        .execute(tx)
        .await?;
    missing(done.rows_affected(), "deployment group", &id)
}

/// Moves devices into a group; all of them or none. Returns the number of devices that were in another group.
pub(super) async fn move_devices(
    tx: &mut Conn,
    project: ProjectId,
    group: GroupId,
    devices: &[DeviceId],
) -> Result<u64> {
    named(tx, project, group).await?;
    let mut moved = 0;
    for device in devices {
        let row = sqlx::query("SELECT group_id FROM devices WHERE project = $1 AND id = $2")
            .bind(codec::id(&project))
            .bind(codec::id(&device))
            .fetch_optional(&mut *tx)
            .await?;
        let row = row.ok_or_else(|| StoreError::Missing {
            what: "device",
            name: device.to_string(),
        })?;
        if codec::group(&row, "devices", "group_id")? == group {
            continue;
        }
        sqlx::query("UPDATE devices SET group_id = $3 WHERE project = $1 AND id = $2")
            .bind(codec::id(&project))
            .bind(codec::id(&device))
            .bind(codec::id(&group))
            .execute(&mut *tx)
            .await?;
        moved += 1;
    }
    Ok(moved)
}

/// Returns the given group, which must exist, or `_orphaned`.
pub(super) async fn or_orphaned(
    tx: &mut Conn,
    project: ProjectId,
    group: Option<GroupId>,
) -> Result<GroupId> {
    if let Some(group) = group {
        named(tx, project, group).await?;
        return Ok(group);
    }
    let row = sqlx::query("SELECT id FROM groups WHERE project = $1 AND name = $2")
        .bind(codec::id(&project))
        .bind(ORPHANED)
        .fetch_one(tx)
        .await?;
    codec::group(&row, "groups", "id")
}

/// Checks that a group exists.
pub(super) async fn must_exist(tx: &mut Conn, project: ProjectId, id: GroupId) -> Result<()> {
    named(tx, project, id).await.map(drop)
}

/// Returns the name of a group, and the branch that it follows.
pub(super) async fn named(
    tx: &mut Conn,
    project: ProjectId,
    id: GroupId,
) -> Result<(String, Option<String>)> {
    let row = sqlx::query("SELECT name, branch FROM groups WHERE project = $1 AND id = $2")
        .bind(codec::id(&project))
        .bind(codec::id(&id))
        .fetch_optional(tx)
        .await?;
    let row = row.ok_or_else(|| StoreError::Missing {
        what: "deployment group",
        name: id.to_string(),
    })?;
    let branch = codec::filled(&row, "branch")?.map(str::to_owned);
    Ok((codec::get(&row, "name")?, branch))
}

pub(super) async fn all(pool: &Pool, project: ProjectId) -> Result<Vec<Group>> {
    let rows =
        sqlx::query("SELECT id, name, branch, status, revision, policy FROM groups WHERE project = $1 ORDER BY name <> $2, name")
            .bind(codec::id(&project))
            .bind(ORPHANED)
            .fetch_all(pool)
            .await?;
    rows.iter().map(group).collect()
}

pub(super) async fn one(pool: &Pool, project: ProjectId, id: GroupId) -> Result<Option<Group>> {
    let row = sqlx::query(
        "SELECT id, name, branch, status, revision, policy FROM groups WHERE project = $1 AND id = $2",
    )
    .bind(codec::id(&project))
    .bind(codec::id(&id))
    .fetch_optional(pool)
    .await?;
    row.as_ref().map(group).transpose()
}

fn group(row: &Row) -> Result<Group> {
    Ok(Group {
        id: codec::group(row, "groups", "id")?,
        name: codec::get(row, "name")?,
        branch: codec::filled(row, "branch")?.map(str::to_owned),
        status: status(codec::get(row, "status")?)?,
        current_revision: codec::filled(row, "revision")?.map(str::to_owned),
        policy: codec::json(codec::get(row, "policy")?, "groups", "policy")?,
    })
}

/// Returns the status of a word; none for the empty one.
fn status(word: &str) -> Result<Option<RolloutStatus>> {
    if word.is_empty() {
        return Ok(None);
    }
    let status = RolloutStatus::named(word);
    let unknown = || codec::corrupt("groups", "status", format!("unknown word {word:?}"));
    status.map(Some).ok_or_else(unknown)
}
