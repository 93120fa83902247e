//! Repetition of deliveries.

use iottly_protocol::ProjectId;

use super::super::db::Conn;
use super::super::{codec, missing};
use super::LOCK_QUEUE;
use crate::{Result, StoreError};
use iottly_core::model::{MessageId, Replay, UnixMs, WebhookId};
use iottly_core::webhooks::MAX_WAITING;

/// Finds the key of a finished delivery's message in the log or among the failures.
const KNOWN: &str = "SELECT device, ts, reason LIKE 'not matched: %' AS undecided FROM webhook_failures \
                     WHERE project = $1 AND hook = $2 AND message = $3 \
                     UNION ALL SELECT device, ts, result = 'not_matched' AS undecided FROM webhook_attempts \
                     WHERE project = $1 AND hook = $2 AND message = $3 AND device IS NOT NULL LIMIT 1";

pub(in super::super) async fn replay(
    tx: &mut Conn,
    project: ProjectId,
    id: WebhookId,
    which: Replay,
    now: UnixMs,
) -> Result<u64> {
    let (owner, hook) = (codec::id(&project), codec::id(&id));
    let known = sqlx::query("SELECT id FROM webhooks WHERE project = $1 AND id = $2")
        .bind(owner)
        .bind(hook);
    missing(
        u64::from(known.fetch_optional(&mut *tx).await?.is_some()),
        "webhook",
        &id,
    )?;
    let queue = sqlx::query(LOCK_QUEUE.as_str())
        .bind(owner)
        .bind(hook)
        .fetch_one(&mut *tx)
        .await?;
    let room = (MAX_WAITING - codec::get::<i64>(&queue, "waiting")?).max(0);
    let (added, taken) = match which {
        Replay::One(message) => one(tx, owner, hook, message, now).await?,
        Replay::FailedSince(since) => failed_since(tx, owner, hook, since, room, now).await?,
    };
    sqlx::query("UPDATE webhook_queues SET waiting = waiting + $3, failed = failed - $4 WHERE project = $1 AND hook = $2")
        .bind(owner)
        .bind(hook)
        .bind(codec::signed(added))
        .bind(codec::signed(taken))
        .execute(tx)
        .await?;
    Ok(added.max(taken))
}

async fn one(
    tx: &mut Conn,
    project: &[u8],
    hook: &[u8],
    message: MessageId,
    now: UnixMs,
) -> Result<(u64, u64)> {
    let row = sqlx::query(KNOWN)
        .bind(project)
        .bind(hook)
        .bind(&message.0[..])
        .fetch_optional(&mut *tx)
        .await?;
    let unknown = || StoreError::Missing {
        what: "delivery of message",
        name: message.to_string(),
    };
    let row = row.ok_or_else(unknown)?;
    let device: Vec<u8> = codec::get(&row, "device")?;
    let added = sqlx::query(
        "INSERT INTO webhook_deliveries (project, hook, message, device, ts, due, undecided) VALUES ($1, $2, $3, $4, $5, $6, $7) \
         ON CONFLICT DO NOTHING",
    )
    .bind(project)
    .bind(hook)
    .bind(&message.0[..])
    .bind(device)
    .bind(codec::get::<UnixMs>(&row, "ts")?)
    .bind(now)
    .bind(codec::get::<bool>(&row, "undecided")?)
    .execute(&mut *tx)
    .await?
    .rows_affected();
    let taken = sqlx::query("DELETE FROM webhook_failures WHERE project = $1 AND hook = $2 AND message = $3")
        .bind(project)
        .bind(hook)
        .bind(&message.0[..])
        .execute(tx)
        .await?;
    Ok((added, taken.rows_affected()))
}

async fn failed_since(
    tx: &mut Conn,
    project: &[u8],
    hook: &[u8],
    since: UnixMs,
    room: i64,
    now: UnixMs,
) -> Result<(u64, u64)> {
    let added = sqlx::query(
        "INSERT INTO webhook_deliveries (project, hook, message, device, ts, due, undecided) \
         SELECT project, hook, message, device, ts, $5, reason LIKE 'not matched: %' \
         FROM webhook_failures WHERE project = $1 AND hook = $2 AND at >= $3 ORDER BY at, message LIMIT $4 ON CONFLICT DO NOTHING",
    )
    .bind(project)
    .bind(hook)
    .bind(since)
    .bind(room)
    .bind(now)
    .execute(&mut *tx)
    .await?
    .rows_affected();
    let taken = sqlx::query(
        "DELETE FROM webhook_failures WHERE project = $1 AND hook = $2 AND (at, message) IN \
         (SELECT at, message FROM webhook_failures WHERE project = $1 AND hook = $2 AND at >= $3 ORDER BY at, message LIMIT $4)",
    )
    .bind(project)
    .bind(hook)
    .bind(since)
    .bind(room)
    .execute(tx)
    .await?;
    Ok((added, taken.rows_affected()))
}
