//! Claiming deliveries with a lease, and releasing them.

use std::collections::HashMap;
use std::sync::LazyLock;

use iottly_protocol::DeviceId;

use super::super::db::{self, Conn, Db, Pool, Row};
use super::super::{codec, messages};
use super::{IDS, LOCK_QUEUE, parameters};
use crate::Result;
use crate::webhooks::{ClaimQuery, WorkerId};
use iottly_core::model::{MessageId, Scope, StoredMessage, UnixMs, WebhookKey};
use iottly_core::webhooks::Claim;
use iottly_core::webhooks::MAX_CLAIM_BYTES;
use iottly_core::webhooks::schedule::LONGEST_WAIT_MS;

static CLAIM_DUE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "WITH picked AS MATERIALIZED (SELECT message AS id FROM webhook_deliveries WHERE project = $1 AND hook = $2 AND due <= $3 \
         AND EXISTS (SELECT 1 FROM webhooks w WHERE w.project = $1 AND w.id = $2 AND w.enabled = true) \
         ORDER BY due, message LIMIT $4{}) \
         UPDATE webhook_deliveries SET due = $5, lease = $6 FROM picked \
         WHERE project = $1 AND hook = $2 AND message = picked.id RETURNING message, device, ts, attempt, undecided",
        db::SKIP_LOCKED
    )
});
const OLDEST: &str = "SELECT message, device, ts, attempt, undecided, due FROM webhook_deliveries WHERE project = $1 AND hook = $2 \
                      AND EXISTS (SELECT 1 FROM webhooks w WHERE w.project = $1 AND w.id = $2 AND w.enabled = true) \
                      ORDER BY message LIMIT $3";
static LEASE: LazyLock<String> = LazyLock::new(|| {
    let ids = parameters(5, IDS);
    format!(
        "UPDATE webhook_deliveries SET due = $3, lease = $4 WHERE project = $1 AND hook = $2 AND message IN ({ids})"
    )
});

pub(super) async fn claim(connection: &mut Conn, query: &ClaimQuery) -> Result<Vec<Claim>> {
    let mut tx = db::begin(connection).await?;
    bring_forward(&mut tx, query.key, query.now).await?;
    let mut claims = if query.ordered {
        claim_oldest(&mut tx, query).await?
    } else {
        claim_due(&mut tx, query).await?
    };
    tx.commit().await?;
    claims.sort_by_key(|claim| claim.message);
    Ok(claims)
}

async fn claim_due(tx: &mut Conn, query: &ClaimQuery) -> Result<Vec<Claim>> {
    let rows = sqlx::query(CLAIM_DUE.as_str())
        .bind(codec::id(&query.key.project))
        .bind(codec::id(&query.key.hook))
        .bind(query.now)
        .bind(i64::try_from(query.limit).unwrap_or(i64::MAX))
        .bind(query.until)
        .bind(query.worker.0)
        .fetch_all(tx)
        .await?;
    rows.iter().map(claim_of).collect()
}

/// Makes deliveries due that are due later than the longest possible wait: they were written while the clock
/// was ahead.
async fn bring_forward(tx: &mut Conn, key: WebhookKey, now: UnixMs) -> Result<()> {
    let (project, hook) = (codec::id(&key.project), codec::id(&key.hook));
    let ahead = sqlx::query(
        "SELECT message FROM webhook_deliveries WHERE project = $1 AND hook = $2 AND due > $3 LIMIT 1",
    );
    if ahead
        .bind(project)
        .bind(hook)
        .bind(too_far(now))
        .fetch_optional(&mut *tx)
        .await?
        .is_none()
    {
        return Ok(());
    }
    if sqlx::query(LOCK_QUEUE.as_str())
        .bind(project)
        .bind(hook)
        .fetch_optional(&mut *tx)
        .await?
        .is_none()
    {
        return Ok(());
    }
    sqlx::query(
        "UPDATE webhook_deliveries SET due = $3, lease = NULL WHERE project = $1 AND hook = $2 AND due > $4",
    )
    .bind(project)
    .bind(hook)
    .bind(now)
    .bind(too_far(now))
    .execute(tx)
    .await?;
    Ok(())
}

/// Returns the latest time at which a delivery can be due.
pub(super) fn too_far(now: UnixMs) -> UnixMs {
    now.saturating_add(LONGEST_WAIT_MS)
}

/// Claims the oldest deliveries up to the first that is not due: that one is in progress, or waits for its
/// next attempt.
async fn claim_oldest(tx: &mut Conn, query: &ClaimQuery) -> Result<Vec<Claim>> {
    let (project, hook) = (codec::id(&query.key.project), codec::id(&query.key.hook));
    if sqlx::query(LOCK_QUEUE.as_str())
        .bind(project)
        .bind(hook)
        .fetch_optional(&mut *tx)
        .await?
        .is_none()
    {
        return Ok(Vec::new());
    }
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let rows = sqlx::query(OLDEST)
        .bind(project)
        .bind(hook)
        .bind(limit)
        .fetch_all(&mut *tx)
        .await?;
    let mut claims = Vec::new();
    for row in &rows {
        if codec::get::<UnixMs>(row, "due")? > query.now {
            break;
        }
        claims.push(claim_of(row)?);
    }
    for chunk in claims.chunks(IDS) {
        let lease = sqlx::query(LEASE.as_str())
            .bind(project)
            .bind(hook)
            .bind(query.until)
            .bind(query.worker.0);
        let ids = padded(chunk.iter().map(|claim| claim.message).collect());
        ids.iter()
            .fold(lease, |lease, id| lease.bind(id.0.to_vec()))
            .execute(&mut *tx)
            .await?;
    }
    Ok(claims)
}

/// Repeats the last id until the list has the length that the statement expects.
pub(super) fn padded(mut ids: Vec<MessageId>) -> Vec<MessageId> {
    if let Some(last) = ids.last().copied() {
        ids.resize(IDS, last);
    }
    ids
}

fn claim_of(row: &Row) -> Result<Claim> {
    Ok(Claim {
        message: MessageId(codec::bytes(row, "webhook_deliveries", "message")?),
        device: DeviceId::from_bytes(codec::bytes(row, "webhook_deliveries", "device")?),
        timestamp: codec::get(row, "ts")?,
        attempts: u32::try_from(codec::get::<i64>(row, "attempt")?).unwrap_or(u32::MAX),
        undecided: codec::get(row, "undecided")?,
        unread: false,
        body: None,
    })
}

/// Adds the messages that still exist, up to the maximum bytes of one claim.
pub(super) async fn with_bodies(pool: &Pool, key: WebhookKey, mut claims: Vec<Claim>) -> Result<Vec<Claim>> {
    let key_of = |claim: &Claim| {
        (
            Scope {
                project: key.project,
                device: claim.device,
            },
            claim.timestamp,
            claim.message,
        )
    };
    let keys: Vec<_> = claims.iter().map(key_of).collect();
    let sizes: HashMap<MessageId, u64> = messages::sizes_of(pool, key.project, &keys)
        .await?
        .into_iter()
        .collect();
    let (mut wanted, mut bytes) = (Vec::with_capacity(keys.len()), 0);
    for key in &keys {
        let Some(size) = sizes.get(&key.2) else { continue };
        bytes += size;
        if bytes > MAX_CLAIM_BYTES && !wanted.is_empty() {
            break;
        }
        wanted.push(*key);
    }
    let read: HashMap<_, _> = messages::these(pool, key.project, &wanted)
        .await?
        .into_iter()
        .map(|message| (message.id, message))
        .collect();
    put_bodies(&mut claims, &sizes, read);
    Ok(claims)
}

fn put_bodies(
    claims: &mut [Claim],
    sizes: &HashMap<MessageId, u64>,
    mut read: HashMap<MessageId, StoredMessage>,
) {
    for claim in claims {
        claim.body = read.remove(&claim.message);
        claim.unread = claim.body.is_none() && sizes.contains_key(&claim.message);
    }
}

pub(super) async fn release(connection: &mut Conn, worker: WorkerId, now: UnixMs) -> Result<u64> {
    let query = sqlx::query::<Db>("UPDATE webhook_deliveries SET due = $2, lease = NULL WHERE lease = $1");
    Ok(query
        .bind(worker.0)
        .bind(now)
        .execute(connection)
        .await?
        .rows_affected())
}
