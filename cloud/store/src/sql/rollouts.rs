//! Rollouts and the commands that control them.

use iottly_protocol::{GroupId, ProjectId};

use super::codec;
use super::db::{Conn, Pool, Row};
use crate::{Result, StoreError};
use iottly_core::model::{
    NewRollout, Rollout, RolloutCommand, RolloutId, RolloutKind, RolloutStatus, UnixMs,
};
use iottly_core::model::{Policy, RolloutIntent, RolloutProgress};

/// Reason of a rollout that was cancelled by a request.
const BY_OWNER: &str = "its owner cancelled it";

const fn intent_word(intent: RolloutIntent) -> &'static str {
    match intent {
        RolloutIntent::Run => "run",
        RolloutIntent::Pause => "pause",
        RolloutIntent::Cancel => "cancel",
    }
}

/// Starts a rollout; the active one of the group is abandoned.
pub(super) async fn start(
    tx: &mut Conn,
    project: ProjectId,
    new: &NewRollout,
    author: &str,
    now: UnixMs,
) -> Result<u64> {
    let policy =
        serde_json::to_string(&new.policy).expect("a policy has string keys and serializes without failing");
    let approved = serde_json::to_string(&new.approved).expect("texts serialize without failing");
    give_up(tx, project, new.group, "a later deployment took its place", now).await?;
    sqlx::query(
        "INSERT INTO rollouts (project, id, group_id, release_seq, kind, policy, approved, forced, wish, halted, status, active, \
         version, author, created, changed, number, devices) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'run', 0, 'deploying', 1, 1, $9, $10, $10, \
         (SELECT coalesce(max(number), 0) + 1 FROM rollouts WHERE project = $1), \
         (SELECT count(*) FROM devices WHERE project = $1 AND group_id = $3))",
    )
    .bind(&project.as_bytes()[..])
    .bind(&new.id.as_bytes()[..])
    .bind(&new.group.as_bytes()[..])
    .bind(codec::signed(new.release))
    .bind(i64::from(new.kind == RolloutKind::Rollback))
    .bind(policy)
    .bind(approved)
    .bind(i64::from(new.force))
    .bind(author)
    .bind(now)
    .execute(&mut *tx)
    .await?;
    let done =
        sqlx::query("UPDATE groups SET rollout = $3, status = 'deploying' WHERE project = $1 AND id = $2")
            .bind(&project.as_bytes()[..])
            .bind(&new.group.as_bytes()[..])
            .bind(&new.id.as_bytes()[..])
            .execute(tx)
            .await?;
    super::missing(done.rows_affected(), "deployment group", &new.group)
}

/// Pauses, resumes or cancels the active rollout of a group.
pub(super) async fn steer(
    tx: &mut Conn,
    project: ProjectId,
    group: GroupId,
    command: RolloutCommand,
    now: UnixMs,
) -> Result<u64> {
    super::groups::must_exist(tx, project, group).await?;
    let row = sqlx::query(
        "SELECT o.id, o.status, o.wish FROM groups g JOIN rollouts o ON o.project = g.project AND o.id = g.rollout \
         WHERE g.project = $1 AND g.id = $2 AND o.active = 1",
    )
    .bind(&project.as_bytes()[..])
    .bind(&group.as_bytes()[..])
    .fetch_optional(&mut *tx)
    .await?;
    let row = row
        .ok_or_else(|| StoreError::Refused("no rollout is under way in this deployment group".to_owned()))?;
    let id: [u8; 16] = codec::bytes(&row, "rollouts", "id")?;
    let intent = intent_word(command.intent());
    let halted = codec::get::<&str>(&row, "status")? == "halted";
    if codec::get::<&str>(&row, "wish")? == intent && !halted {
        return Ok(0);
    }
    if command == RolloutCommand::Resume {
        // Failed devices are directed again as if they had not failed; silent devices get a new deadline.
        sqlx::query(
            "UPDATE rollout_devices SET failures = 0, heard = NULL WHERE project = $1 AND rollout = $2",
        )
        .bind(&project.as_bytes()[..])
        .bind(&id[..])
        .execute(&mut *tx)
        .await?;
    }
    // Pausing a halted rollout leaves it halted.
    let still = i64::from(halted && command == RolloutCommand::Pause);
    sqlx::query(
        "UPDATE rollouts SET wish = $3, halted = $4, evidence = CASE WHEN $4 = 1 THEN evidence ELSE NULL END, \
         forced = CASE WHEN $5 = 1 THEN 1 ELSE forced END, version = version + 1, changed = $6, ended = $7 \
         WHERE project = $1 AND id = $2",
    )
    .bind(&project.as_bytes()[..])
    .bind(&id[..])
    .bind(intent)
    .bind(still)
    .bind(i64::from(halted && command == RolloutCommand::Resume))
    .bind(now)
    .bind((command == RolloutCommand::Cancel).then_some(BY_OWNER))
    .execute(tx)
    .await?;
    Ok(1)
}

/// Cancels an active rollout, even if its group was deleted.
pub(super) async fn cancel(tx: &mut Conn, project: ProjectId, id: RolloutId, now: UnixMs) -> Result<u64> {
    let row = sqlx::query("SELECT active, wish FROM rollouts WHERE project = $1 AND id = $2")
        .bind(&project.as_bytes()[..])
        .bind(&id.as_bytes()[..])
        .fetch_optional(&mut *tx)
        .await?;
    let row = row.ok_or_else(|| StoreError::Missing {
        what: "rollout",
        name: id.to_string(),
    })?;
    if codec::get::<i64>(&row, "active")? == 0 {
        return Err(StoreError::Refused("the rollout has ended".to_owned()));
    }
    if codec::get::<&str>(&row, "wish")? == intent_word(RolloutIntent::Cancel) {
        return Ok(0);
    }
    let done = sqlx::query(
        "UPDATE rollouts SET wish = 'cancel', halted = 0, version = version + 1, changed = $3, ended = $4 \
         WHERE project = $1 AND id = $2",
    )
    .bind(&project.as_bytes()[..])
    .bind(&id.as_bytes()[..])
    .bind(now)
    .bind(BY_OWNER)
    .execute(tx)
    .await?;
    Ok(done.rows_affected())
}

/// Abandons the active rollout of a group, with a reason that its owner can read.
pub(super) async fn give_up(
    tx: &mut Conn,
    project: ProjectId,
    group: GroupId,
    reason: &str,
    now: UnixMs,
) -> Result<()> {
    sqlx::query(
        "UPDATE rollouts SET wish = 'cancel', halted = 0, version = version + 1, changed = $3, ended = $4 \
         WHERE project = $1 AND group_id = $2 AND active = 1 AND wish <> 'cancel'",
    )
    .bind(&project.as_bytes()[..])
    .bind(&group.as_bytes()[..])
    .bind(now)
    .bind(reason)
    .execute(tx)
    .await?;
    Ok(())
}

/// Returns an error when a release of this branch is being deployed.
pub(super) async fn none_of_branch(tx: &mut Conn, project: ProjectId, branch: &str) -> Result<()> {
    let row = sqlx::query(
        "SELECT o.id FROM rollouts o JOIN releases r ON r.project = o.project AND r.seq = o.release_seq \
         WHERE o.project = $1 AND o.active = 1 AND r.branch = $2 LIMIT 1",
    )
    .bind(&project.as_bytes()[..])
    .bind(branch)
    .fetch_optional(tx)
    .await?;
    let Some(row) = row else { return Ok(()) };
    let id = RolloutId::from_bytes(codec::bytes(&row, "rollouts", "id")?);
    Err(StoreError::Refused(format!(
        "a release of branch {branch:?} is being deployed: cancel rollout {id} first"
    )))
}

pub(super) async fn set_policy(
    tx: &mut Conn,
    project: ProjectId,
    group: GroupId,
    policy: &Policy,
) -> Result<u64> {
    let text =
        serde_json::to_string(policy).expect("a policy has string keys and serializes without failing");
    super::groups::must_exist(tx, project, group).await?;
    let done = sqlx::query("UPDATE groups SET policy = $3 WHERE project = $1 AND id = $2 AND policy <> $3");
    let done = done
        .bind(&project.as_bytes()[..])
        .bind(&group.as_bytes()[..])
        .bind(text)
        .execute(tx)
        .await?;
    Ok(done.rows_affected())
}

/// Returns the rollouts that the executor may have to act on, a project's oldest first.
pub(super) async fn active(pool: &Pool) -> Result<Vec<(ProjectId, RolloutId)>> {
    let rows = sqlx::query("SELECT project, id FROM rollouts WHERE active = 1 ORDER BY project, number")
        .fetch_all(pool)
        .await?;
    let named = |row: &Row| {
        let id = RolloutId::from_bytes(codec::bytes(row, "rollouts", "id")?);
        Ok((codec::project(row, "rollouts", "project")?, id))
    };
    rows.iter().map(named).collect()
}

pub(super) async fn newest(
    pool: &Pool,
    project: ProjectId,
    group: Option<GroupId>,
    limit: usize,
) -> Result<Vec<Rollout>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let query = match &group {
        Some(group) => sqlx::query(
            "SELECT * FROM rollouts WHERE project = $1 AND group_id = $3 ORDER BY number DESC LIMIT $2",
        )
        .bind(&project.as_bytes()[..])
        .bind(limit)
        .bind(&group.as_bytes()[..]),
        None => sqlx::query("SELECT * FROM rollouts WHERE project = $1 ORDER BY number DESC LIMIT $2")
            .bind(&project.as_bytes()[..])
            .bind(limit),
    };
    query.fetch_all(pool).await?.iter().map(rollout).collect()
}

pub(super) async fn one(pool: &Pool, project: ProjectId, id: RolloutId) -> Result<Option<Rollout>> {
    let row = sqlx::query("SELECT * FROM rollouts WHERE project = $1 AND id = $2")
        .bind(&project.as_bytes()[..])
        .bind(&id.as_bytes()[..])
        .fetch_optional(pool)
        .await?;
    row.as_ref().map(rollout).transpose()
}

fn rollout(row: &Row) -> Result<Rollout> {
    let number = |field| codec::unsigned(codec::get(row, field)?, "rollouts", field);
    let optional = |field| -> Result<Option<u64>> {
        let found: Option<i64> = codec::get(row, field)?;
        found
            .map(|found| codec::unsigned(found, "rollouts", field))
            .transpose()
    };
    let unknown =
        |field: &'static str, word: &str| codec::corrupt("rollouts", field, format!("unknown word {word:?}"));
    let word: &str = codec::get(row, "wish")?;
    let intents = [RolloutIntent::Run, RolloutIntent::Pause, RolloutIntent::Cancel];
    let intent = intents
        .into_iter()
        .find(|intent| intent_word(*intent) == word)
        .ok_or_else(|| unknown("wish", word))?;
    let word: &str = codec::get(row, "status")?;
    let status = RolloutStatus::named(word).ok_or_else(|| unknown("status", word))?;
    let soaking = optional("soaked")?.zip(optional("soaked_at")?);
    Ok(Rollout {
        id: RolloutId::from_bytes(codec::bytes(row, "rollouts", "id")?),
        group: codec::group(row, "rollouts", "group_id")?,
        release: number("release_seq")?,
        kind: if codec::get::<i64>(row, "kind")? == 1 {
            RolloutKind::Rollback
        } else {
            RolloutKind::Install
        },
        policy: codec::json(codec::get(row, "policy")?, "rollouts", "policy")?,
        approved: codec::json(codec::get(row, "approved")?, "rollouts", "approved")?,
        force: codec::get::<i64>(row, "forced")? == 1,
        progress: RolloutProgress {
            intent,
            halted: codec::get::<i64>(row, "halted")? == 1,
            soaking,
        },
        status,
        evidence: codec::get::<Option<String>>(row, "evidence")?.map(Into::into),
        active: codec::get::<i64>(row, "active")? == 1,
        version: number("version")?,
        devices: number("devices")?,
        ended: codec::get::<Option<String>>(row, "ended")?.map(Into::into),
        author: codec::get(row, "author")?,
        created: codec::get(row, "created")?,
        changed: codec::get(row, "changed")?,
    })
}
