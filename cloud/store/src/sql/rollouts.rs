//! Rollouts and the commands that control them.

use std::sync::LazyLock;

use async_trait::async_trait;
use iottly_protocol::{DeviceId, GroupId, ProjectId};
use serde_json::value::RawValue;

use super::db::{self, Conn, Row};
use super::{Backend, codec, packed_members, rollout_devices, rollout_lists, rollout_upkeep};
use crate::{Result, RolloutStore, StoreError};
use iottly_core::model::{
    KnownFacts, NewRollout, Policy, Rollout, RolloutCommand, RolloutId, RolloutIntent, RolloutKind,
    RolloutMember, RolloutProgress, RolloutStatus, RolloutStep, Scope, UnixMs,
};
use iottly_core::rollout::{self, Alike, Place, Steered};

#[async_trait]
impl RolloutStore for Backend {
    async fn rollouts(
        &self,
        project: ProjectId,
        group: Option<GroupId>,
        limit: usize,
    ) -> Result<Vec<Rollout>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let query = match &group {
            Some(group) => sqlx::query(
                "SELECT * FROM rollouts WHERE project = $1 AND group_id = $3 ORDER BY number DESC LIMIT $2",
            )
            .bind(codec::id(&project))
            .bind(limit)
            .bind(codec::id(&group)),
            None => sqlx::query("SELECT * FROM rollouts WHERE project = $1 ORDER BY number DESC LIMIT $2")
                .bind(codec::id(&project))
                .bind(limit),
        };
        query
            .fetch_all(&self.readers)
            .await?
            .iter()
            .map(rollout)
            .collect()
    }

    async fn rollout(&self, project: ProjectId, id: RolloutId) -> Result<Option<Rollout>> {
        let row = sqlx::query("SELECT * FROM rollouts WHERE project = $1 AND id = $2")
            .bind(codec::id(&project))
            .bind(codec::id(&id))
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(rollout).transpose()
    }

    async fn active_rollouts(&self) -> Result<Vec<(ProjectId, RolloutId)>> {
        let rows = sqlx::query("SELECT project, id FROM rollouts WHERE active = 1 ORDER BY project, number")
            .fetch_all(&self.readers)
            .await?;
        let named = |row: &Row| {
            let id = RolloutId::from_bytes(codec::bytes(row, "rollouts", "id")?);
            Ok((codec::project(row, "rollouts", "project")?, id))
        };
        rows.iter().map(named).collect()
    }

    async fn rollout_members(&self, project: ProjectId, rollout: &Rollout) -> Result<Vec<RolloutMember>> {
        packed_members::all(&self.readers, project, rollout).await
    }

    async fn rollout_page(
        &self,
        project: ProjectId,
        rollout: &Rollout,
        place: Option<Place>,
        after: Option<DeviceId>,
        limit: usize,
    ) -> Result<Vec<RolloutMember>> {
        rollout_lists::page(&self.readers, project, rollout, place, after, limit).await
    }

    async fn rollout_exceptions(
        &self,
        project: ProjectId,
        rollout: &Rollout,
        limit: usize,
    ) -> Result<Vec<RolloutMember>> {
        rollout_lists::exceptions(&self.readers, project, rollout, limit).await
    }

    async fn rollout_counts(
        &self,
        project: ProjectId,
        rollout: &Rollout,
        part: Option<u64>,
    ) -> Result<Vec<Alike>> {
        rollout_lists::counts(&self.readers, project, rollout, part).await
    }

    async fn save_rollout_step(&self, project: ProjectId, step: &RolloutStep, now: UnixMs) -> Result<bool> {
        rollout_devices::save_step(&mut *self.write().await?, project, step, now).await
    }

    async fn open_directive(&self, scope: Scope) -> Result<Option<Box<RawValue>>> {
        rollout_devices::open_directive(&self.readers, scope).await
    }

    async fn raise_counter(&self, scope: Scope, counter: u64) -> Result<()> {
        // Most hellos contain no higher counter; checking with a reader keeps the writer free.
        if rollout_devices::counter(&self.readers, scope).await? >= counter {
            return Ok(());
        }
        rollout_devices::raise_counter(&mut *self.write().await?, scope, counter).await
    }

    async fn note_heard(&self, project: ProjectId, rollout: RolloutId, at: u64) -> Result<()> {
        rollout_devices::heard(&mut *self.write().await?, project, rollout, at).await
    }

    async fn steady_clock(&self) -> Result<Option<u64>> {
        rollout_upkeep::clock(&self.readers).await
    }

    async fn advance_clock(&self, at: u64) -> Result<u64> {
        rollout_upkeep::advance(&mut *self.write().await?, at).await
    }

    async fn tidy_rollouts(&self, project: ProjectId, limit: usize) -> Result<u64> {
        rollout_upkeep::tidy(&mut *self.write().await?, project, limit).await
    }

    async fn device_facts(
        &self,
        project: ProjectId,
        group: GroupId,
        after: Option<DeviceId>,
        limit: usize,
    ) -> Result<Vec<KnownFacts>> {
        rollout_devices::facts(&self.readers, project, group, after, limit).await
    }
}

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
    .bind(codec::id(&project))
    .bind(codec::id(&new.id))
    .bind(codec::id(&new.group))
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
            .bind(codec::id(&project))
            .bind(codec::id(&new.group))
            .bind(codec::id(&new.id))
            .execute(tx)
            .await?;
    super::missing(done.rows_affected(), "deployment group", &new.group)
}

/// Locks the active rollout of a group.
static LOCK_CURRENT: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT id, status, wish, halted, soaked, soaked_at FROM rollouts WHERE project = $1 AND active = 1 \
         AND id = (SELECT rollout FROM groups WHERE project = $1 AND id = $2){}",
        db::FOR_UPDATE
    )
});

/// Locks a rollout by its id.
static LOCK_ONE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT id, active, wish, halted, soaked, soaked_at FROM rollouts WHERE project = $1 AND id = $2{}",
        db::FOR_UPDATE
    )
});

/// Locks the active rollouts of a group.
static LOCK_ACTIVE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT id, wish, halted, soaked, soaked_at FROM rollouts \
         WHERE project = $1 AND group_id = $2 AND active = 1 ORDER BY id{}",
        db::FOR_UPDATE
    )
});

/// Pauses, resumes or cancels the active rollout of a group.
pub(super) async fn steer(
    tx: &mut Conn,
    project: ProjectId,
    group: GroupId,
    command: RolloutCommand,
    now: UnixMs,
) -> Result<u64> {
    super::groups::must_exist(tx, project, group).await?;
    let row = sqlx::query(LOCK_CURRENT.as_str())
        .bind(codec::id(&project))
        .bind(codec::id(&group))
        .fetch_optional(&mut *tx)
        .await?;
    let row = row
        .ok_or_else(|| StoreError::Refused("no rollout is under way in this deployment group".to_owned()))?;
    let Some(steered) = rollout::steer(&progress(&row)?, status(&row)?, command) else {
        return Ok(0);
    };
    save_steered(tx, project, &row, &steered, now).await?;
    Ok(1)
}

/// Cancels an active rollout, even if its group was deleted.
pub(super) async fn cancel(tx: &mut Conn, project: ProjectId, id: RolloutId, now: UnixMs) -> Result<u64> {
    let row = sqlx::query(LOCK_ONE.as_str())
        .bind(codec::id(&project))
        .bind(codec::id(&id))
        .fetch_optional(&mut *tx)
        .await?;
    let row = row.ok_or_else(|| StoreError::Missing {
        what: "rollout",
        name: id.to_string(),
    })?;
    if codec::get::<i64>(&row, "active")? == 0 {
        return Err(StoreError::Refused("the rollout has ended".to_owned()));
    }
    let Some(steered) = rollout::abandon(&progress(&row)?, rollout::BY_OWNER) else {
        return Ok(0);
    };
    save_steered(tx, project, &row, &steered, now).await?;
    Ok(1)
}

/// Abandons the active rollout of a group, with a reason that its owner can read.
pub(super) async fn give_up(
    tx: &mut Conn,
    project: ProjectId,
    group: GroupId,
    reason: &'static str,
    now: UnixMs,
) -> Result<()> {
    let rows = sqlx::query(LOCK_ACTIVE.as_str())
        .bind(codec::id(&project))
        .bind(codec::id(&group))
        .fetch_all(&mut *tx)
        .await?;
    for row in &rows {
        if let Some(steered) = rollout::abandon(&progress(row)?, reason) {
            save_steered(tx, project, row, &steered, now).await?;
        }
    }
    Ok(())
}

/// Saves what was decided on a locked rollout. Its version changes, so that a step of the executor that was
/// planned before is not saved.
async fn save_steered(
    tx: &mut Conn,
    project: ProjectId,
    row: &Row,
    steered: &Steered,
    now: UnixMs,
) -> Result<()> {
    let id: [u8; 16] = codec::bytes(row, "rollouts", "id")?;
    sqlx::query(
        "UPDATE rollouts SET wish = $3, halted = $4, evidence = CASE WHEN $5 = 1 THEN evidence ELSE NULL END, \
         forced = CASE WHEN $6 = 1 THEN 1 ELSE forced END, version = version + 1, changed = $7, ended = $8 \
         WHERE project = $1 AND id = $2",
    )
    .bind(codec::id(&project))
    .bind(&id[..])
    .bind(intent_word(steered.progress.intent))
    .bind(i64::from(steered.progress.halted))
    .bind(i64::from(steered.keeps_evidence))
    .bind(i64::from(steered.forces))
    .bind(now)
    .bind(steered.ended)
    .execute(&mut *tx)
    .await?;
    if steered.forgives {
        // Failed devices are directed again as if they had not failed; silent devices get a new deadline.
        sqlx::query(
            "UPDATE rollout_devices SET failures = 0, heard = NULL WHERE project = $1 AND rollout = $2",
        )
        .bind(codec::id(&project))
        .bind(&id[..])
        .execute(tx)
        .await?;
    }
    Ok(())
}

/// Returns an error when a release of this branch is being deployed.
pub(super) async fn none_of_branch(tx: &mut Conn, project: ProjectId, branch: &str) -> Result<()> {
    let row = sqlx::query(
        "SELECT o.id FROM rollouts o JOIN releases r ON r.project = o.project AND r.seq = o.release_seq \
         WHERE o.project = $1 AND o.active = 1 AND r.branch = $2 LIMIT 1",
    )
    .bind(codec::id(&project))
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
        .bind(codec::id(&project))
        .bind(codec::id(&group))
        .bind(text)
        .execute(tx)
        .await?;
    Ok(done.rows_affected())
}

fn status(row: &Row) -> Result<RolloutStatus> {
    let word: &str = codec::get(row, "status")?;
    RolloutStatus::named(word)
        .ok_or_else(|| codec::corrupt("rollouts", "status", format!("unknown word {word:?}")))
}

/// Reads the progress of a rollout.
fn progress(row: &Row) -> Result<RolloutProgress> {
    let optional = |field| -> Result<Option<u64>> {
        let found: Option<i64> = codec::get(row, field)?;
        found
            .map(|found| codec::unsigned(found, "rollouts", field))
            .transpose()
    };
    let word: &str = codec::get(row, "wish")?;
    let intent = [RolloutIntent::Run, RolloutIntent::Pause, RolloutIntent::Cancel]
        .into_iter()
        .find(|intent| intent_word(*intent) == word)
        .ok_or_else(|| codec::corrupt("rollouts", "wish", format!("unknown word {word:?}")))?;
    Ok(RolloutProgress {
        intent,
        halted: codec::get::<i64>(row, "halted")? == 1,
        soaking: optional("soaked")?.zip(optional("soaked_at")?),
    })
}

fn rollout(row: &Row) -> Result<Rollout> {
    let number = |field| codec::unsigned(codec::get(row, field)?, "rollouts", field);
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
        progress: progress(row)?,
        status: status(row)?,
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
