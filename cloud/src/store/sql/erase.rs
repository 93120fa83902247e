//! Deleting devices and projects: what names them goes at once, their data in bounded steps.

use iottly_protocol::{DeviceId, ProjectId};

use super::db::{self, Conn};
use super::{codec, missing, usage};
use crate::model::{Scope, UnixMs};
use crate::store::Result;

/// Records that were on their way when the device was deleted may still be committed for so long; the mark stays until then.
const SETTLE_MS: UnixMs = 60_000;

pub(super) async fn device(tx: &mut Conn, project: ProjectId, device: DeviceId, now: UnixMs) -> Result<u64> {
    let (project, id) = (&project.as_bytes()[..], &device.as_bytes()[..]);
    let done = sqlx::query("DELETE FROM devices WHERE project = $1 AND id = $2").bind(project).bind(id).execute(&mut *tx).await?;
    missing(done.rows_affected(), "device", &device)?;
    sqlx::query("DELETE FROM licences WHERE project = $1 AND device = $2").bind(project).bind(id).execute(&mut *tx).await?;
    sqlx::query("INSERT INTO erasures (project, device, requested) VALUES ($1, $2, $3)")
        .bind(project)
        .bind(id)
        .bind(now)
        .execute(tx)
        .await?;
    Ok(1)
}

pub(super) async fn project(tx: &mut Conn, project: ProjectId, now: UnixMs) -> Result<u64> {
    sqlx::query("INSERT INTO erasures (project, device, requested) SELECT project, id, $2 FROM devices WHERE project = $1")
        .bind(&project.as_bytes()[..])
        .bind(now)
        .execute(&mut *tx)
        .await?;
    for sql in [
        "DELETE FROM licences WHERE project = $1",
        "DELETE FROM devices WHERE project = $1",
        "DELETE FROM groups WHERE project = $1",
        "DELETE FROM tokens WHERE project = $1",
        "DELETE FROM idempotency WHERE project = $1",
        "DELETE FROM definitions WHERE project = $1",
        "DELETE FROM snippets WHERE project = $1",
        "DELETE FROM revisions WHERE project = $1",
        "DELETE FROM branches WHERE project = $1",
        "DELETE FROM rollout_devices WHERE project = $1",
        "DELETE FROM rollouts WHERE project = $1",
        "DELETE FROM releases WHERE project = $1",
        "DELETE FROM audit WHERE project = $1",
        "DELETE FROM usage WHERE project = $1",
        // Their queues mark what is to be erased of them.
        "DELETE FROM webhooks WHERE project = $1",
        "DELETE FROM projects WHERE id = $1",
    ] {
        sqlx::query(sql).bind(&project.as_bytes()[..]).execute(&mut *tx).await?;
    }
    Ok(1)
}

/// Takes one step of the oldest erasure that has data: at most `limit` messages. False when there is nothing left to erase.
pub(super) async fn step(connection: &mut Conn, now: UnixMs, limit: usize) -> Result<bool> {
    let mut tx = db::begin(connection).await?;
    let rows = sqlx::query(db::ERASURES).fetch_all(&mut *tx).await?;
    for row in &rows {
        let scope = codec::scope(row, "erasures", "device")?;
        let erased = erase(&mut tx, scope, limit).await?;
        let settled = now - codec::get::<i64>(row, "requested")? >= SETTLE_MS;
        if erased == 0 && settled {
            usage::forget_empty(&mut tx, scope.project, now).await?;
            sqlx::query("DELETE FROM erasures WHERE project = $1 AND device = $2")
                .bind(&scope.project.as_bytes()[..])
                .bind(&scope.device.as_bytes()[..])
                .execute(&mut *tx)
                .await?;
        }
        if erased > 0 {
            tx.commit().await?;
            return Ok(true);
        }
    }
    tx.commit().await?;
    Ok(false)
}

/// Deletes at most `limit` messages of a device that were received before `before`; returns how many.
pub(super) async fn older(connection: &mut Conn, scope: Scope, before: UnixMs, limit: usize) -> Result<u64> {
    let mut tx = db::begin(connection).await?;
    let deleted = delete_messages(&mut tx, scope, before, limit).await?;
    usage::forget_empty(&mut tx, scope.project, before).await?;
    tx.commit().await?;
    Ok(deleted)
}

async fn delete_messages(tx: &mut Conn, scope: Scope, before: UnixMs, limit: usize) -> Result<u64> {
    let deleted = sqlx::query(
        "DELETE FROM messages WHERE project = $1 AND device = $2 AND (ts, id) IN \
         (SELECT ts, id FROM messages WHERE project = $1 AND device = $2 AND ts < $3 ORDER BY ts, id LIMIT $4) \
         RETURNING ts, CAST(octet_length(body) AS BIGINT) AS bytes",
    )
    .bind(&scope.project.as_bytes()[..])
    .bind(&scope.device.as_bytes()[..])
    .bind(before)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(&mut *tx)
    .await?;
    usage::uncount(tx, scope.project, &deleted).await
}

async fn erase(tx: &mut Conn, scope: Scope, limit: usize) -> Result<u64> {
    let (project, device) = (&scope.project.as_bytes()[..], &scope.device.as_bytes()[..]);
    let mut erased = delete_messages(tx, scope, UnixMs::MAX, limit).await?;
    for sql in [
        "DELETE FROM streams WHERE project = $1 AND device = $2",
        "DELETE FROM commands WHERE project = $1 AND device = $2",
        "DELETE FROM idempotency WHERE project = $1 AND device = $2",
        "DELETE FROM device_logs WHERE project = $1 AND device = $2",
        "DELETE FROM webhook_attempts WHERE project = $1 AND device = $2",
        "DELETE FROM rollout_devices WHERE project = $1 AND device = $2",
    ] {
        erased += sqlx::query(sql).bind(project).bind(device).execute(&mut *tx).await?.rows_affected();
    }
    Ok(erased)
}
