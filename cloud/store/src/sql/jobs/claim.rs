//! Turns of jobs: which one is next, and which worker has it.

use std::sync::LazyLock;

use iottly_protocol::DeviceId;

use super::super::codec;
use super::super::db::{self, Conn, Pool};
use super::steps;
use crate::Result;
use crate::jobs::ClaimedJob;
use crate::webhooks::WorkerId;
use iottly_core::jobs::Event;
use iottly_core::model::{JOB_PART, Job, JobId, UnixMs};

/// Longest lease, in milliseconds: one that ends later was written while the clock was ahead.
const LONGEST_LEASE_MS: UnixMs = 10 * 60_000;

/// Selects the oldest job of each project and lane that no other worker has, of the project that waits for longest.
static NEXT: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT project, id FROM jobs j WHERE state < 2 AND (worker = $1 OR lease <= $2 OR lease > $3) \
         AND NOT EXISTS (SELECT 1 FROM jobs o WHERE o.project = j.project AND o.lane = j.lane AND o.state < 2 \
         AND (o.created, o.id) < (j.created, j.id)) ORDER BY turn, project, id LIMIT 1{}",
        db::SKIP_LOCKED
    )
});

/// Returns true if a job has not ended, so that most looks need no turn of the writer.
pub(super) async fn is_any(pool: &Pool) -> Result<bool> {
    let open = sqlx::query("SELECT id FROM jobs WHERE state < 2 LIMIT 1");
    Ok(open.fetch_optional(pool).await?.is_some())
}

pub(super) async fn next(
    tx: &mut Conn,
    worker: WorkerId,
    now: UnixMs,
    until: UnixMs,
) -> Result<Option<ClaimedJob>> {
    let row = sqlx::query(NEXT.as_str())
        .bind(worker.0)
        .bind(now)
        .bind(now.saturating_add(LONGEST_LEASE_MS))
        .fetch_optional(&mut *tx)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let project = codec::project(&row, "jobs", "project")?;
    let id = JobId::from_bytes(codec::bytes(&row, "jobs", "id")?);
    // Turns are numbered, so that they alternate even while the clock does not advance.
    sqlx::query(
        "UPDATE jobs SET worker = $3, lease = $4, turn = (SELECT coalesce(max(turn), 0) + 1 FROM jobs WHERE state < 2) \
         WHERE project = $1 AND id = $2",
    )
    .bind(codec::id(&project))
    .bind(codec::id(&id))
    .bind(worker.0)
    .bind(until)
    .execute(&mut *tx)
    .await?;
    let Some(mut job) = super::one(tx, project, id, "").await? else {
        return Ok(None);
    };
    if let Some(next) = job.progress.handle(Event::Claimed, now) {
        steps::write(tx, project, id, &next).await?;
        job.progress = next;
    }
    let (devices, place) = rest_of_part(tx, &job).await?;
    Ok(Some(ClaimedJob {
        job,
        worker,
        devices,
        place,
    }))
}

/// Returns the devices of a part that are not done, and the place in the history of the first.
async fn rest_of_part(tx: &mut Conn, job: &Job) -> Result<(Vec<DeviceId>, Option<String>)> {
    let (part, skipped) = (
        job.progress.done / JOB_PART as u64,
        usize::try_from(job.progress.done % JOB_PART as u64).expect("less than a part"),
    );
    let row = sqlx::query(
        "SELECT p.devices, j.place FROM job_parts p JOIN jobs j ON j.project = p.project AND j.id = p.job \
         WHERE p.project = $1 AND p.job = $2 AND p.part = $3",
    )
    .bind(codec::id(&job.project))
    .bind(codec::id(&job.id))
    .bind(codec::signed(part))
    .fetch_optional(tx)
    .await?;
    let Some(row) = row else {
        return Err(codec::corrupt(
            "job_parts",
            "part",
            format!("part {part} is missing"),
        ));
    };
    let bytes: &[u8] = codec::get(&row, "devices")?;
    let (ids, _) = bytes.as_chunks::<16>();
    let ids = ids.iter().skip(skipped).map(|id| DeviceId::from_bytes(*id));
    Ok((ids.collect(), codec::get(&row, "place")?))
}
