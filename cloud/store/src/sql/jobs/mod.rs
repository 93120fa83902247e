//! Jobs: reading them, and the operations of their family.

use async_trait::async_trait;
use iottly_protocol::{DeviceId, GroupId, ProjectId};
use sqlx::QueryBuilder;

use super::db::{self, Conn, Db, Row};
use super::{Backend, codec};
use crate::jobs::{ClaimedJob, JobStep};
use crate::webhooks::WorkerId;
use crate::write_turns::Lane;
use crate::{JobStore, Result};
use iottly_core::jobs::{JobState, Progress};
use iottly_core::model::{
    Actor, Idempotency, Job, JobFailure, JobFile, JobFilter, JobId, JobTask, Principal, TokenId, UnixMs,
    UserId,
};

mod carry_out;
mod claim;
mod steps;

pub(super) use steps::{cancel, start};

const JOB: &str = "SELECT project, id, task, state, total, done, failed, reason, actor_kind, actor, actor_name, group_id, address, \
                   created, started, ended, worker, lease, host, place, messages, bytes, file_until FROM jobs WHERE ";

#[async_trait]
impl JobStore for Backend {
    async fn jobs(&self, project: ProjectId, filter: JobFilter, limit: usize) -> Result<Vec<Job>> {
        let mut query = QueryBuilder::<Db>::new(JOB);
        query.push("project = ").push_bind(codec::id(&project).to_vec());
        match filter.open {
            Some(true) => query.push(" AND state < 2"),
            Some(false) => query.push(" AND state >= 2"),
            None => &mut query,
        };
        if let Some(group) = filter.group {
            query
                .push(" AND group_id = ")
                .push_bind(codec::id(&group).to_vec());
        }
        if let Some((created, id)) = filter.before {
            query.push(" AND (created, id) < (").push_bind(created);
            query.push(", ").push_bind(codec::id(&id).to_vec()).push(")");
        }
        query.push(" ORDER BY created DESC, id DESC LIMIT ");
        query.push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = query.build().fetch_all(&self.readers).await?;
        rows.iter().map(job).collect()
    }

    async fn job(&self, project: ProjectId, id: JobId) -> Result<Option<Job>> {
        one(&mut *self.readers.acquire().await?, project, id, "").await
    }

    async fn job_of_key(&self, project: ProjectId, key: &Idempotency) -> Result<Option<(JobId, [u8; 32])>> {
        let row = sqlx::query("SELECT id, request FROM jobs WHERE project = $1 AND actor = $2 AND key = $3")
            .bind(codec::id(&project))
            .bind(&key.actor.id()[..])
            .bind(codec::text(&key.key))
            .fetch_optional(&self.readers)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let id = JobId::from_bytes(codec::bytes(&row, "jobs", "id")?);
        Ok(Some((id, codec::bytes(&row, "jobs", "request")?)))
    }

    async fn job_failures(&self, project: ProjectId, id: JobId, limit: usize) -> Result<Vec<JobFailure>> {
        let query = sqlx::query(
            "SELECT n, device, reason FROM job_failures WHERE project = $1 AND job = $2 ORDER BY n LIMIT $3",
        )
        .bind(codec::id(&project))
        .bind(codec::id(&id))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = query.fetch_all(&self.readers).await?;
        let failure = |row: &Row| {
            Ok(JobFailure {
                number: codec::unsigned(codec::get(row, "n")?, "job_failures", "n")?,
                device: DeviceId::from_bytes(codec::bytes(row, "job_failures", "device")?),
                reason: codec::get(row, "reason")?,
            })
        };
        rows.iter().map(failure).collect()
    }

    async fn open_jobs(&self, project: ProjectId, group: Option<GroupId>) -> Result<u64> {
        let mut query =
            QueryBuilder::<Db>::new("SELECT count(*) AS n FROM jobs WHERE state < 2 AND project = ");
        query.push_bind(codec::id(&project).to_vec());
        if let Some(group) = group {
            query
                .push(" AND group_id = ")
                .push_bind(codec::id(&group).to_vec());
        }
        let row = query.build().fetch_one(&self.readers).await?;
        codec::unsigned(codec::get(&row, "n")?, "jobs", "count")
    }

    async fn claim_job(&self, worker: WorkerId, now: UnixMs, until: UnixMs) -> Result<Option<ClaimedJob>> {
        if !claim::is_any(&self.readers).await? {
            return Ok(None);
        }
        let mut writer = self.write().await?;
        let mut tx = db::begin(&mut writer).await?;
        let claimed = claim::next(&mut tx, worker, now, until).await;
        // A job that cannot be read has had its turn, too: the others follow.
        tx.commit().await?;
        claimed
    }

    async fn carry_out(&self, claim: &ClaimedJob, now: UnixMs) -> Result<bool> {
        let _turn = self.turns.take(Lane::Project(claim.job.project)).await;
        let mut writer = self.write().await?;
        let mut tx = db::begin(&mut writer).await?;
        let done = carry_out::carry_out(&mut tx, claim, now).await?;
        tx.commit().await?;
        Ok(done)
    }

    async fn record_step(&self, claim: &ClaimedJob, step: JobStep, now: UnixMs) -> Result<bool> {
        let _turn = self.turns.take(Lane::Project(claim.job.project)).await;
        let mut writer = self.write().await?;
        let mut tx = db::begin(&mut writer).await?;
        sqlx::query(db::LOCK_PROJECT)
            .bind(codec::id(&claim.job.project))
            .fetch_optional(&mut *tx)
            .await?;
        let recorded = steps::record(&mut tx, claim, step, now).await?;
        tx.commit().await?;
        Ok(recorded)
    }

    async fn export_bytes(&self, project: ProjectId, now: UnixMs) -> Result<u64> {
        let row = sqlx::query(
            "SELECT CAST(coalesce(sum(bytes), 0) AS BIGINT) AS n FROM jobs WHERE project = $1 AND lane = 1 \
             AND (state < 2 OR file_until > $2)",
        )
        .bind(codec::id(&project))
        .bind(now)
        .fetch_one(&self.readers)
        .await?;
        codec::unsigned(codec::get(&row, "n")?, "jobs", "bytes")
    }

    async fn job_files(&self, worker: WorkerId, now: UnixMs) -> Result<Vec<(ProjectId, JobId)>> {
        let rows = sqlx::query(
            "SELECT project, id FROM jobs WHERE lane = 1 AND host = $1 AND (state < 2 OR file_until > $2)",
        )
        .bind(worker.0)
        .bind(now)
        .fetch_all(&self.readers)
        .await?;
        let names = |row: &Row| {
            Ok((
                codec::project(row, "jobs", "project")?,
                JobId::from_bytes(codec::bytes(row, "jobs", "id")?),
            ))
        };
        rows.iter().map(names).collect()
    }

    async fn tidy_jobs(&self, before: UnixMs, limit: usize) -> Result<u64> {
        let mut writer = self.write().await?;
        let mut tx = db::begin(&mut writer).await?;
        let rows = sqlx::query("SELECT project, id FROM jobs WHERE ended < $1 ORDER BY ended LIMIT $2")
            .bind(before)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&mut *tx)
            .await?;
        for row in &rows {
            let project = codec::project(row, "jobs", "project")?;
            steps::forget(&mut tx, project, codec::bytes(row, "jobs", "id")?).await?;
        }
        tx.commit().await?;
        Ok(rows.len() as u64)
    }
}

/// Returns a job; `lock` is what a statement adds to lock the row.
async fn one(
    connection: &mut Conn,
    project: ProjectId,
    id: JobId,
    lock: &'static str,
) -> Result<Option<Job>> {
    let mut query = QueryBuilder::<Db>::new(JOB);
    query.push("project = ").push_bind(codec::id(&project).to_vec());
    query.push(" AND id = ").push_bind(codec::id(&id).to_vec());
    query.push(lock);
    let row = query.build().fetch_optional(connection).await?;
    row.as_ref().map(job).transpose()
}

fn job(row: &Row) -> Result<Job> {
    let task: JobTask = codec::json(codec::get(row, "task")?, "jobs", "task")?;
    let project = codec::project(row, "jobs", "project")?;
    let file = match codec::get::<Option<i64>>(row, "host")? {
        Some(host) => Some(JobFile {
            host,
            bytes: codec::unsigned(codec::get(row, "bytes")?, "jobs", "bytes")?,
            messages: codec::unsigned(codec::get(row, "messages")?, "jobs", "messages")?,
            until: codec::get(row, "file_until")?,
        }),
        None => None,
    };
    Ok(Job {
        project,
        id: JobId::from_bytes(codec::bytes(row, "jobs", "id")?),
        by: by(row, project, &task)?,
        task,
        created: codec::get(row, "created")?,
        progress: progress(row)?,
        file,
    })
}

fn by(row: &Row, project: ProjectId, task: &JobTask) -> Result<Principal> {
    let actor = codec::bytes(row, "jobs", "actor")?;
    let group: Option<&[u8]> = codec::get(row, "group_id")?;
    let address: Option<&str> = codec::get(row, "address")?;
    Ok(Principal {
        project,
        actor: match codec::get::<i64>(row, "actor_kind")? {
            1 => Actor::Token(TokenId::from_bytes(actor)),
            2 => Actor::User(UserId::from_bytes(actor)),
            _ => Actor::Cloud,
        },
        name: codec::get(row, "actor_name")?,
        scopes: task.scope(),
        group: match group {
            Some(_) => Some(codec::group(row, "jobs", "group_id")?),
            None => None,
        },
        address: address.and_then(|address| address.parse().ok()),
    })
}

fn progress(row: &Row) -> Result<Progress> {
    let count = |field| codec::unsigned(codec::get(row, field)?, "jobs", field);
    let state: i64 = codec::get(row, "state")?;
    let known = usize::try_from(state)
        .ok()
        .and_then(|state| JobState::ALL.get(state));
    Ok(Progress {
        state: *known.ok_or_else(|| codec::corrupt("jobs", "state", format!("unknown code {state}")))?,
        total: count("total")?,
        done: count("done")?,
        failed: count("failed")?,
        reason: codec::get(row, "reason")?,
        started: codec::get(row, "started")?,
        ended: codec::get(row, "ended")?,
    })
}
