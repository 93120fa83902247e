//! Deletion of old attempts and failures, and totals of all webhooks.

use sqlx::Row as _;

use super::super::codec;
use super::super::db::{self, Conn, Pool, Row};
use super::LOCK_QUEUE;
use crate::Result;
use crate::webhooks::WebhookTotals;
use iottly_core::model::{UnixMs, WebhookId, WebhookKey};
use iottly_core::webhooks::{KEPT_MS, MAX_FAILED};

pub(super) async fn totals(pool: &Pool) -> Result<WebhookTotals> {
    let row = sqlx::query(
        "SELECT CAST(coalesce(sum(q.waiting), 0) AS BIGINT) AS waiting, count(q.probe_at) AS open, \
         min((SELECT d.ts FROM webhook_deliveries d WHERE d.project = q.project AND d.hook = q.hook ORDER BY d.message LIMIT 1)) AS oldest \
         FROM webhook_queues q",
    )
    .fetch_one(pool)
    .await?;
    Ok(WebhookTotals {
        waiting: codec::unsigned(codec::get(&row, "waiting")?, "webhook_queues", "waiting")?,
        open: codec::unsigned(codec::get(&row, "open")?, "webhook_queues", "probe_at")?,
        oldest: codec::get(&row, "oldest")?,
    })
}

pub(super) async fn tidy(connection: &mut Conn, now: UnixMs, limit: usize) -> Result<u64> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = sqlx::query(
        "SELECT q.project, q.hook, q.failed, w.id FROM webhook_queues q \
         LEFT JOIN webhooks w ON w.project = q.project AND w.id = q.hook ORDER BY q.project, q.hook",
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut removed = 0;
    for row in &rows {
        let key = key(row)?;
        let gone = row.try_get::<Option<Vec<u8>>, _>("id")?.is_none();
        let mut tx = db::begin(connection).await?;
        let lock = sqlx::query(LOCK_QUEUE.as_str())
            .bind(codec::id(&key.project))
            .bind(codec::id(&key.hook));
        if lock.fetch_optional(&mut *tx).await?.is_none() {
            continue;
        }
        removed += if gone {
            erase(&mut tx, key, limit).await?
        } else {
            forget(&mut tx, key, codec::get(row, "failed")?, now - KEPT_MS, limit).await?
        };
        tx.commit().await?;
    }
    Ok(removed)
}

fn key(row: &Row) -> Result<WebhookKey> {
    const TABLE: &str = "webhook_queues";
    Ok(WebhookKey {
        project: codec::project(row, TABLE, "project")?,
        hook: WebhookId::from_bytes(codec::bytes(row, TABLE, "hook")?),
    })
}

/// Erases the data of a deleted webhook, its queue last.
async fn erase(tx: &mut Conn, key: WebhookKey, limit: i64) -> Result<u64> {
    let mut erased = 0;
    for sql in [
        "DELETE FROM webhook_deliveries WHERE project = $1 AND hook = $2 AND message IN \
         (SELECT message FROM webhook_deliveries WHERE project = $1 AND hook = $2 LIMIT $3)",
        "DELETE FROM webhook_failures WHERE project = $1 AND hook = $2 AND (at, message) IN \
         (SELECT at, message FROM webhook_failures WHERE project = $1 AND hook = $2 LIMIT $3)",
        "DELETE FROM webhook_attempts WHERE project = $1 AND hook = $2 AND n IN \
         (SELECT n FROM webhook_attempts WHERE project = $1 AND hook = $2 LIMIT $3)",
    ] {
        let query = sqlx::query(sql)
            .bind(codec::id(&key.project))
            .bind(codec::id(&key.hook))
            .bind(limit);
        erased += query.execute(&mut *tx).await?.rows_affected();
    }
    if erased == 0 {
        let query = sqlx::query("DELETE FROM webhook_queues WHERE project = $1 AND hook = $2");
        query
            .bind(codec::id(&key.project))
            .bind(codec::id(&key.hook))
            .execute(tx)
            .await?;
    }
    Ok(erased)
}

/// Deletes attempts and failures from before `before`, and the oldest failures above the limit.
async fn forget(tx: &mut Conn, key: WebhookKey, failed: i64, before: UnixMs, limit: i64) -> Result<u64> {
    let (project, hook) = (codec::id(&key.project), codec::id(&key.hook));
    let attempts = sqlx::query("DELETE FROM webhook_attempts WHERE project = $1 AND hook = $2 AND at < $3")
        .bind(project)
        .bind(hook)
        .bind(before)
        .execute(&mut *tx)
        .await?
        .rows_affected();
    let mut failures = 0;
    let over = (failed - MAX_FAILED).clamp(0, limit);
    for (until, most) in [(before, limit), (UnixMs::MAX, over)] {
        failures += sqlx::query(
            "DELETE FROM webhook_failures WHERE project = $1 AND hook = $2 AND (at, message) IN \
             (SELECT at, message FROM webhook_failures WHERE project = $1 AND hook = $2 AND at < $3 ORDER BY at, message LIMIT $4)",
        )
        .bind(project)
        .bind(hook)
        .bind(until)
        .bind(most)
        .execute(&mut *tx)
        .await?
        .rows_affected();
    }
    if failures > 0 {
        sqlx::query("UPDATE webhook_queues SET failed = failed - $3 WHERE project = $1 AND hook = $2")
            .bind(project)
            .bind(hook)
            .bind(codec::signed(failures))
            .execute(tx)
            .await?;
    }
    Ok(attempts + failures)
}
