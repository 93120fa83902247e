//! Results of deliveries, many in one transaction.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::super::codec;
use super::super::db::{self, Conn};
use super::claim::padded;
use super::{IDS, LOCK_QUEUE, attempts, parameters};
use crate::Result;
use crate::webhooks::{DeliveryResult, Disposition, WorkerId};
use iottly_core::model::{MessageId, WebhookKey};

static DONE: LazyLock<String> = LazyLock::new(|| {
    let ids = parameters(4, IDS);
    format!(
        "DELETE FROM webhook_deliveries WHERE project = $1 AND hook = $2 AND lease = $3 AND message IN ({ids})"
    )
});

pub(super) async fn settle(
    connection: &mut Conn,
    worker: WorkerId,
    results: &[DeliveryResult],
) -> Result<()> {
    let mut by_hook: BTreeMap<WebhookKey, Vec<&DeliveryResult>> = BTreeMap::new();
    for one in results {
        by_hook.entry(one.key).or_default().push(one);
    }
    let mut tx = db::begin(connection).await?;
    for (key, results) in by_hook {
        settle_hook(&mut tx, worker, key, &results).await?;
    }
    tx.commit().await?;
    Ok(())
}

async fn settle_hook(
    tx: &mut Conn,
    worker: WorkerId,
    key: WebhookKey,
    results: &[&DeliveryResult],
) -> Result<()> {
    let (project, hook) = (codec::id(&key.project), codec::id(&key.hook));
    let queue = sqlx::query(LOCK_QUEUE.as_str())
        .bind(project)
        .bind(hook)
        .fetch_optional(&mut *tx)
        .await?;
    let Some(queue) = queue else { return Ok(()) };
    let done = results
        .iter()
        .filter(|one| one.disposition == Disposition::Done)
        .map(|one| one.message)
        .collect();
    let gone = delete(tx, worker, key, done).await?;
    let mut failed = 0;
    for one in results {
        match &one.disposition {
            Disposition::Done | Disposition::Nothing => {}
            Disposition::Wait { due, attempts } => {
                sqlx::query(
                    "UPDATE webhook_deliveries SET due = $5, undecided = undecided AND attempt = $6, attempt = $6, lease = NULL \
                     WHERE project = $1 AND hook = $2 AND message = $3 AND lease = $4",
                )
                .bind(project)
                .bind(hook)
                .bind(&one.message.0[..])
                .bind(worker.0)
                .bind(due)
                .bind(i64::from(*attempts))
                .execute(&mut *tx)
                .await?;
            }
            Disposition::Failed { attempts, reason } => {
                failed += keep_failed(tx, worker, one, *attempts, reason).await?
            }
        }
    }
    let logged = attempts::append(tx, key, codec::get(&queue, "logged")?, results).await?;
    sqlx::query(
        "UPDATE webhook_queues SET waiting = waiting - $3, failed = failed + $4, logged = $5 WHERE project = $1 AND hook = $2",
    )
    .bind(project)
    .bind(hook)
    .bind(codec::signed(gone + failed))
    .bind(codec::signed(failed))
    .bind(logged)
    .execute(&mut *tx)
    .await?;
    let Some(health) = results.iter().rev().find_map(|one| one.health) else {
        return Ok(());
    };
    sqlx::query("UPDATE webhook_queues SET failures = $3, probe_at = $4, failing_since = $5 WHERE project = $1 AND hook = $2")
        .bind(project)
        .bind(hook)
        .bind(i64::from(health.failures))
        .bind(health.probe_at)
        .bind(health.failing_since)
        .execute(tx)
        .await?;
    Ok(())
}

async fn delete(tx: &mut Conn, worker: WorkerId, key: WebhookKey, messages: Vec<MessageId>) -> Result<u64> {
    let mut gone = 0;
    for chunk in messages.chunks(IDS) {
        let query = sqlx::query(DONE.as_str())
            .bind(codec::id(&key.project))
            .bind(codec::id(&key.hook))
            .bind(worker.0);
        let ids = padded(chunk.to_vec());
        gone += ids
            .iter()
            .fold(query, |query, id| query.bind(id.0.to_vec()))
            .execute(&mut *tx)
            .await?
            .rows_affected();
    }
    Ok(gone)
}

/// Stores a delivery as failed; does nothing if another worker has claimed it.
async fn keep_failed(
    tx: &mut Conn,
    worker: WorkerId,
    one: &DeliveryResult,
    attempts: u32,
    reason: &str,
) -> Result<u64> {
    let Some(device) = one.device else { return Ok(0) };
    let gone = delete(tx, worker, one.key, vec![one.message]).await?;
    if gone == 0 {
        return Ok(0);
    }
    let at = one.attempt.as_ref().map_or(one.timestamp, |attempt| attempt.at);
    sqlx::query(
        "INSERT INTO webhook_failures (project, hook, at, message, device, ts, attempt, reason) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
    )
    .bind(codec::id(&one.key.project))
    .bind(codec::id(&one.key.hook))
    .bind(at)
    .bind(&one.message.0[..])
    .bind(codec::id(&device))
    .bind(one.timestamp)
    .bind(i64::from(attempts))
    .bind(codec::text(reason))
    .execute(tx)
    .await?;
    Ok(1)
}
