//! Deletion of devices and projects: references are deleted immediately, the data in bounded steps.

use async_trait::async_trait;
use iottly_protocol::{DeviceId, ProjectId};

use super::db::{self, Conn};
use super::{Backend, codec, latest, missing, rollups, usage};
use crate::{ErasureStore, Result};
use iottly_core::model::{NO_DEVICE, Scope, UnixMs};

/// Time after a deletion during which records in transit may still be committed; the erasure mark stays until
/// then.
const SETTLE_MS: UnixMs = 60_000;
/// Maximum number of marks without data that one step removes or postpones.
const MARKS: usize = 16;

#[async_trait]
impl ErasureStore for Backend {
    async fn erase_step(&self, now: UnixMs, limit: usize) -> Result<bool> {
        let mut writer = self.write().await?;
        let mut tx = db::begin(&mut writer).await?;
        for _ in 0..MARKS {
            // A settling time that is too far ahead was set before the clock was set back.
            let row = sqlx::query(db::ERASURE)
                .bind(now)
                .bind(now.saturating_add(SETTLE_MS))
                .fetch_optional(&mut *tx)
                .await?;
            let Some(row) = row else {
                tx.commit().await?;
                return Ok(false);
            };
            let scope = codec::scope(&row, "erasures", "device")?;
            if erase(&mut tx, scope, limit).await? > 0 {
                tx.commit().await?;
                return Ok(true);
            }
            settle(&mut tx, scope, now, codec::get(&row, "requested")?).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    async fn erase_device_step(&self, scope: Scope, limit: usize) -> Result<bool> {
        let mut writer = self.write().await?;
        let mut tx = db::begin(&mut writer).await?;
        let marked = sqlx::query("SELECT device FROM erasures WHERE project = $1 AND device = $2")
            .bind(codec::id(&scope.project))
            .bind(codec::id(&scope.device))
            .fetch_optional(&mut *tx)
            .await?;
        let erased = if marked.is_some() {
            erase(&mut tx, scope, limit).await?
        } else {
            0
        };
        tx.commit().await?;
        Ok(erased > 0)
    }

    async fn drop_older(&self, scope: Scope, before: UnixMs, limit: usize) -> Result<u64> {
        let mut writer = self.write().await?;
        let mut tx = db::begin(&mut writer).await?;
        // First, because it locks the device, as the ingest does first.
        latest::forget_older(&mut tx, scope, before).await?;
        let deleted = delete_messages(&mut tx, scope, before, limit).await?;
        let rolled = rollups::delete_older(&mut tx, scope, [before; 2], limit).await?;
        usage::forget_empty(&mut tx, scope.project, before).await?;
        tx.commit().await?;
        // The caller comes again while a step was full.
        Ok(if rolled >= limit as u64 { rolled } else { deleted })
    }
}

pub(super) async fn device(tx: &mut Conn, project: ProjectId, device: DeviceId, now: UnixMs) -> Result<u64> {
    let (project, id) = (codec::id(&project), codec::id(&device));
    let done = sqlx::query("DELETE FROM devices WHERE project = $1 AND id = $2")
        .bind(project)
        .bind(id)
        .execute(&mut *tx)
        .await?;
    missing(done.rows_affected(), "device", &device)?;
    for sql in [
        "DELETE FROM licences WHERE project = $1 AND device = $2",
        "DELETE FROM series_fills WHERE project = $1 AND device = $2",
        "DELETE FROM latest_fills WHERE project = $1 AND device = $2",
        "DELETE FROM device_keys WHERE project = $1 AND device = $2",
        "DELETE FROM device_copies WHERE project = $1 AND device = $2",
        "DELETE FROM device_secrets WHERE project = $1 AND device = $2",
        "DELETE FROM device_health WHERE project = $1 AND device = $2",
        "DELETE FROM developer_lease_devices WHERE project = $1 AND device = $2",
    ] {
        sqlx::query(sql).bind(project).bind(id).execute(&mut *tx).await?;
    }
    sqlx::query("INSERT INTO erasures (project, device, requested, due) VALUES ($1, $2, $3, $3)")
        .bind(project)
        .bind(id)
        .bind(now)
        .execute(tx)
        .await?;
    Ok(1)
}

pub(super) async fn project(tx: &mut Conn, project: ProjectId, now: UnixMs) -> Result<u64> {
    sqlx::query(
        "INSERT INTO erasures (project, device, requested, due) SELECT project, id, $2, $2 FROM devices WHERE project = $1",
    )
    .bind(codec::id(&project))
    .bind(now)
    .execute(&mut *tx)
    .await?;
    // Entries about the project itself are in a history of no device.
    sqlx::query(
        "INSERT INTO erasures (project, device, requested, due) SELECT id, $2, $3, $3 FROM projects WHERE id = $1 AND alert_changes > 0",
    )
    .bind(codec::id(&project))
    .bind(&NO_DEVICE.as_bytes()[..])
    .bind(now)
    .execute(&mut *tx)
    .await?;
    // Rows that ingest and the evaluation of alerts also write are locked in their order: devices, counts, webhooks, alerts,
    // mails, series.
    delete_all(
        tx,
        project,
        &[
            "DELETE FROM job_failures WHERE project = $1",
            "DELETE FROM job_parts WHERE project = $1",
            "DELETE FROM jobs WHERE project = $1",
            "DELETE FROM licences WHERE project = $1",
            "DELETE FROM device_keys WHERE project = $1",
            "DELETE FROM device_copies WHERE project = $1",
            "DELETE FROM device_secrets WHERE project = $1",
            "DELETE FROM enrolment_keys WHERE project = $1",
            "DELETE FROM devices WHERE project = $1",
            "DELETE FROM groups WHERE project = $1",
            "DELETE FROM tokens WHERE project = $1",
            "DELETE FROM browser_logins WHERE project = $1",
            "DELETE FROM release_roots WHERE project = $1",
            "DELETE FROM idempotency WHERE project = $1",
            "DELETE FROM definitions WHERE project = $1",
            "DELETE FROM snippets WHERE project = $1",
            "DELETE FROM revisions WHERE project = $1",
            "DELETE FROM branches WHERE project = $1",
            "DELETE FROM code_drafts WHERE project = $1",
            "DELETE FROM rollout_devices WHERE project = $1",
            "DELETE FROM rollouts WHERE project = $1",
            "DELETE FROM developer_lease_devices WHERE project = $1",
            "DELETE FROM developer_leases WHERE project = $1",
            "DELETE FROM releases WHERE project = $1",
            "DELETE FROM audit WHERE project = $1",
        ],
    )
    .await?;
    usage::lock(tx, project).await?;
    delete_all(
        tx,
        project,
        &[
            "DELETE FROM usage WHERE project = $1",
            "DELETE FROM minute_usage WHERE project = $1",
            "DELETE FROM saved_plots WHERE project = $1",
            "DELETE FROM webhook_portals WHERE project = $1",
            // The remaining rows of their queues mark the data to erase.
            "DELETE FROM webhooks WHERE project = $1",
            "DELETE FROM alerts WHERE project = $1",
            "DELETE FROM mail_counts WHERE project = $1",
            "DELETE FROM alert_mails WHERE project = $1",
            "DELETE FROM alert_rules WHERE project = $1",
            "DELETE FROM series_fills WHERE project = $1",
            "DELETE FROM latest_fills WHERE project = $1",
            "DELETE FROM series WHERE project = $1",
            "DELETE FROM series_counts WHERE project = $1",
            "DELETE FROM projects WHERE id = $1",
        ],
    )
    .await?;
    Ok(1)
}

async fn delete_all(tx: &mut Conn, project: ProjectId, statements: &[&'static str]) -> Result<()> {
    for sql in statements {
        sqlx::query(*sql)
            .bind(codec::id(&project))
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

/// Removes the mark of a device whose data is gone, or postpones it while records may still arrive. A
/// deletion in the future was requested before the clock was set back; its settling time starts now.
async fn settle(tx: &mut Conn, scope: Scope, now: UnixMs, requested: UnixMs) -> Result<()> {
    let (project, device) = (codec::id(&scope.project), codec::id(&scope.device));
    if now.saturating_sub(requested) < SETTLE_MS {
        let requested = requested.min(now);
        sqlx::query("UPDATE erasures SET requested = $3, due = $4 WHERE project = $1 AND device = $2")
            .bind(project)
            .bind(device)
            .bind(requested)
            .bind(requested.saturating_add(SETTLE_MS))
            .execute(tx)
            .await?;
        return Ok(());
    }
    usage::forget_empty(tx, scope.project, now).await?;
    sqlx::query("DELETE FROM erasures WHERE project = $1 AND device = $2")
        .bind(project)
        .bind(device)
        .execute(tx)
        .await?;
    Ok(())
}

/// Deletes the oldest messages, up to the one with number `limit`: a range of the key, which is cheap
/// regardless of the database's statistics.
async fn delete_messages(tx: &mut Conn, scope: Scope, before: UnixMs, limit: usize) -> Result<u64> {
    let (project, device) = (codec::id(&scope.project), codec::id(&scope.device));
    let Some(skipped) = limit.checked_sub(1) else {
        return Ok(0);
    };
    let last = sqlx::query(
        "SELECT ts, id FROM messages WHERE project = $1 AND device = $2 AND ts < $3 ORDER BY ts, id LIMIT 1 OFFSET $4",
    )
    .bind(project)
    .bind(device)
    .bind(before)
    .bind(i64::try_from(skipped).unwrap_or(i64::MAX))
    .fetch_optional(&mut *tx)
    .await?;
    let (ts, id) = match last {
        Some(row) => (
            codec::get(&row, "ts")?,
            codec::bytes::<12>(&row, "messages", "id")?,
        ),
        None => (UnixMs::MAX, [0xff; 12]),
    };
    let deleted = sqlx::query(
        "DELETE FROM messages WHERE project = $1 AND device = $2 AND ts < $3 AND (ts, id) <= ($4, $5) \
         RETURNING ts, CAST(octet_length(body) AS BIGINT) AS bytes",
    )
    .bind(project)
    .bind(device)
    .bind(before)
    .bind(ts)
    .bind(&id[..])
    .fetch_all(&mut *tx)
    .await?;
    usage::uncount(tx, scope.project, &deleted).await
}

async fn erase(tx: &mut Conn, scope: Scope, limit: usize) -> Result<u64> {
    let (project, device) = (codec::id(&scope.project), codec::id(&scope.device));
    // First, because retention and ingest take the lock of a device's latest values before that of what else they write.
    latest::forget_older(tx, scope, UnixMs::MAX).await?;
    let mut erased = delete_messages(tx, scope, UnixMs::MAX, limit).await?;
    for sql in [
        "DELETE FROM streams WHERE project = $1 AND device = $2 AND stream IN \
         (SELECT stream FROM streams WHERE project = $1 AND device = $2 LIMIT $3)",
        "DELETE FROM commands WHERE project = $1 AND device = $2 AND id IN \
         (SELECT id FROM commands WHERE project = $1 AND device = $2 LIMIT $3)",
        "DELETE FROM idempotency WHERE project = $1 AND device = $2 AND (token, name) IN \
         (SELECT token, name FROM idempotency WHERE project = $1 AND device = $2 LIMIT $3)",
        "DELETE FROM rollups WHERE project = $1 AND device = $2 AND (path, width, start) IN \
         (SELECT path, width, start FROM rollups WHERE project = $1 AND device = $2 LIMIT $3)",
        "DELETE FROM device_logs WHERE project = $1 AND device = $2 AND n IN \
         (SELECT n FROM device_logs WHERE project = $1 AND device = $2 LIMIT $3)",
        "DELETE FROM webhook_attempts WHERE project = $1 AND device = $2 AND (hook, n) IN \
         (SELECT hook, n FROM webhook_attempts WHERE project = $1 AND device = $2 LIMIT $3)",
        "DELETE FROM rollout_devices WHERE project = $1 AND device = $2 AND rollout IN \
         (SELECT rollout FROM rollout_devices WHERE project = $1 AND device = $2 LIMIT $3)",
        // Of a deleted project, or written by a report that came with the deletion. Device by device: reports of several
        // devices are written in one transaction.
        "DELETE FROM device_health WHERE project = $1 AND device = $2 AND device IN \
         (SELECT device FROM device_health WHERE project = $1 AND device = $2 LIMIT $3)",
    ] {
        let query = sqlx::query(sql)
            .bind(project)
            .bind(device)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        erased += query.execute(&mut *tx).await?.rows_affected();
    }
    Ok(erased)
}
