//! Beginnings, steps and ends of jobs.

use iottly_protocol::ProjectId;

use super::super::db::{self, Conn};
use super::super::{audit, codec, full, groups, missing, taken};
use crate::jobs::{ClaimedJob, JobStep};
use crate::{Result, StoreError};
use iottly_core::jobs::{Event, JobState, Progress};
use iottly_core::model::{
    Actor, EXPORT_KEPT_MS, JOB_PART, Job, JobId, JobTask, MAX_JOB_FAILURES, MAX_JOB_REASON_BYTES,
    MAX_KEPT_JOBS, MAX_OPEN_JOBS, NewJob, Principal, UnixMs,
};
use iottly_protocol::limits::clip;

/// Starts a job, within the project's limit. Returns 0 if its key stands for another job already.
pub(in super::super) async fn start(
    tx: &mut Conn,
    project: ProjectId,
    new: &NewJob,
    by: &Principal,
    now: UnixMs,
) -> Result<u64> {
    if let Some(key) = &new.key {
        let known = sqlx::query("SELECT id FROM jobs WHERE project = $1 AND actor = $2 AND key = $3")
            .bind(codec::id(&project))
            .bind(&key.actor.id()[..])
            .bind(codec::text(&key.key));
        if known.fetch_optional(&mut *tx).await?.is_some() {
            return Ok(0);
        }
    }
    let row = sqlx::query("SELECT count(*) AS n FROM jobs WHERE project = $1 AND state < 2")
        .bind(codec::id(&project))
        .fetch_one(&mut *tx)
        .await?;
    full(codec::get(&row, "n")?, "open jobs", MAX_OPEN_JOBS)?;
    if let JobTask::Move { group } = &new.task {
        groups::must_exist(tx, project, *group).await?;
    }
    make_room(tx, project).await?;
    insert(tx, project, new, by, now).await?;
    for (part, devices) in (0i64..).zip(new.devices.chunks(JOB_PART)) {
        let bytes: Vec<u8> = devices.iter().flat_map(|device| *device.as_bytes()).collect();
        sqlx::query("INSERT INTO job_parts (project, job, part, devices) VALUES ($1, $2, $3, $4)")
            .bind(codec::id(&project))
            .bind(codec::id(&new.id))
            .bind(part)
            .bind(bytes)
            .execute(&mut *tx)
            .await?;
    }
    Ok(1)
}

async fn insert(tx: &mut Conn, project: ProjectId, new: &NewJob, by: &Principal, now: UnixMs) -> Result<()> {
    let task =
        serde_json::to_string(&new.task).expect("a task has string keys and serializes without failing");
    let kind: i64 = match by.actor {
        Actor::Cloud => 0,
        Actor::Token(_) => 1,
        Actor::User(_) => 2,
    };
    let group = by.group.as_ref().map(codec::id);
    sqlx::query(
        "INSERT INTO jobs (project, id, task, lane, state, total, done, failed, actor_kind, actor, actor_name, group_id, address, \
         created, key, request, turn, lease, messages, bytes) \
         VALUES ($1, $2, $3, $4, 0, $5, 0, 0, $6, $7, $8, $9, $10, $11, $12, $13, 0, 0, 0, 0)",
    )
    .bind(codec::id(&project))
    .bind(codec::id(&new.id))
    .bind(codec::text(&task))
    .bind(i64::from(new.task.is_export()))
    .bind(codec::signed(new.devices.len() as u64))
    .bind(kind)
    .bind(&by.actor.id()[..])
    .bind(codec::text(&by.name))
    .bind(group)
    .bind(by.address.map(|address| address.to_string()))
    .bind(now)
    .bind(new.key.as_ref().map(|key| codec::text(&key.key)))
    .bind(new.key.as_ref().map(|key| &key.request[..]))
    .execute(tx)
    .await
    .map_err(|error| taken(error, "job", &new.id.to_string()))?;
    Ok(())
}

/// Deletes the oldest ended jobs beyond those that a project keeps.
async fn make_room(tx: &mut Conn, project: ProjectId) -> Result<()> {
    let rows = sqlx::query(
        "SELECT id FROM jobs WHERE project = $1 AND state >= 2 ORDER BY created DESC, id DESC LIMIT 100 OFFSET $2",
    )
    .bind(codec::id(&project))
    .bind(MAX_KEPT_JOBS - 1)
    .fetch_all(&mut *tx)
    .await?;
    for row in &rows {
        forget(tx, project, codec::bytes(row, "jobs", "id")?).await?;
    }
    Ok(())
}

/// Deletes a job with its devices and failures.
pub(super) async fn forget(tx: &mut Conn, project: ProjectId, id: [u8; 16]) -> Result<()> {
    for sql in [
        "DELETE FROM job_failures WHERE project = $1 AND job = $2",
        "DELETE FROM job_parts WHERE project = $1 AND job = $2",
        "DELETE FROM jobs WHERE project = $1 AND id = $2",
    ] {
        sqlx::query(sql)
            .bind(codec::id(&project))
            .bind(&id[..])
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

/// Ends a job before it is done.
pub(in super::super) async fn cancel(
    tx: &mut Conn,
    project: ProjectId,
    id: JobId,
    now: UnixMs,
) -> Result<u64> {
    let job = super::one(tx, project, id, db::FOR_UPDATE).await?;
    missing(u64::from(job.is_some()), "job", &id)?;
    let next = job.and_then(|job| job.progress.handle(Event::Cancelled, now));
    let Some(next) = next else {
        return Err(StoreError::Refused("the job has ended already".to_owned()));
    };
    write(tx, project, id, &next).await?;
    Ok(1)
}

/// Writes the state and the counts of a job.
pub(super) async fn write(tx: &mut Conn, project: ProjectId, id: JobId, progress: &Progress) -> Result<()> {
    let state = JobState::ALL
        .iter()
        .position(|state| *state == progress.state)
        .unwrap_or_default();
    sqlx::query(
        "UPDATE jobs SET state = $3, done = $4, failed = $5, reason = $6, started = $7, ended = $8 WHERE project = $1 AND id = $2",
    )
    .bind(codec::id(&project))
    .bind(codec::id(&id))
    .bind(codec::signed(state as u64))
    .bind(codec::signed(progress.done))
    .bind(codec::signed(progress.failed))
    .bind(progress.reason.as_deref().map(|reason| clip(reason, MAX_JOB_REASON_BYTES)).map(codec::text))
    .bind(progress.started)
    .bind(progress.ended)
    .execute(tx)
    .await?;
    Ok(())
}

/// Returns the job of a claim, locked, if the worker still has it and no step was recorded since.
pub(super) async fn held(tx: &mut Conn, claim: &ClaimedJob) -> Result<Option<Job>> {
    let (project, id) = (claim.job.project, claim.job.id);
    let Some(job) = super::one(tx, project, id, db::FOR_UPDATE).await? else {
        return Ok(None);
    };
    let row = sqlx::query("SELECT worker FROM jobs WHERE project = $1 AND id = $2")
        .bind(codec::id(&project))
        .bind(codec::id(&id))
        .fetch_one(tx)
        .await?;
    let is_held = codec::get::<Option<i64>>(&row, "worker")? == Some(claim.worker.0)
        && job.progress.done == claim.job.progress.done;
    Ok(Some(job).filter(|_| is_held))
}

/// Records a step of a job that its worker still has; with an entry of the audit log when the job ends.
pub(super) async fn record(tx: &mut Conn, claim: &ClaimedJob, step: JobStep, now: UnixMs) -> Result<bool> {
    let Some(job) = held(tx, claim).await? else {
        return Ok(false);
    };
    let (project, id) = (job.project, job.id);
    if let Some(file) = &step.file {
        sqlx::query(
            "UPDATE jobs SET place = $3, messages = $4, bytes = $5, host = $6 WHERE project = $1 AND id = $2",
        )
        .bind(codec::id(&project))
        .bind(codec::id(&id))
        .bind(file.place.as_deref())
        .bind(codec::signed(file.messages))
        .bind(codec::signed(file.bytes))
        .bind(claim.worker.0)
        .execute(&mut *tx)
        .await?;
    }
    for (kept, (at, reason)) in (job.progress.failed..).zip(&step.failures) {
        let Some(device) = claim.devices.get(*at).filter(|_| kept < MAX_JOB_FAILURES) else {
            break;
        };
        sqlx::query(
            "INSERT INTO job_failures (project, job, n, device, reason) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (project, job, n) DO NOTHING",
        )
        .bind(codec::id(&project))
        .bind(codec::id(&id))
        .bind(codec::signed(job.progress.done + *at as u64))
        .bind(codec::id(device))
        .bind(codec::text(clip(reason, MAX_JOB_REASON_BYTES)))
        .execute(&mut *tx)
        .await?;
    }
    if step.event == Event::Lost {
        sqlx::query("DELETE FROM job_failures WHERE project = $1 AND job = $2")
            .bind(codec::id(&project))
            .bind(codec::id(&id))
            .execute(&mut *tx)
            .await?;
    }
    let Some(next) = job.progress.handle(step.event, now) else {
        return Ok(true);
    };
    write(tx, project, id, &next).await?;
    if next.state.is_final() && !job.progress.state.is_final() {
        ended(tx, &job, &next, now).await?;
    }
    Ok(true)
}

async fn ended(tx: &mut Conn, job: &Job, end: &Progress, now: UnixMs) -> Result<()> {
    if job.task.is_export() && end.state == JobState::Finished {
        sqlx::query("UPDATE jobs SET file_until = $3 WHERE project = $1 AND id = $2")
            .bind(codec::id(&job.project))
            .bind(codec::id(&job.id))
            .bind(now.saturating_add(EXPORT_KEPT_MS))
            .execute(&mut *tx)
            .await?;
    }
    let mut detail = format!(
        "{} {}: {} of {} devices done, {} failed",
        job.task.kind(),
        end.state.as_str(),
        end.done,
        end.total,
        end.failed
    );
    if let Some(reason) = &end.reason {
        detail = format!("{detail}: {}", clip(reason, MAX_JOB_REASON_BYTES));
    }
    let entry = ("job.end", job.id.to_string(), codec::text(&detail).into_owned());
    audit::append(tx, job.project, &job.by, entry, now).await
}
