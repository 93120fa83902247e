//! The audit log. Entries are limited per action, so that a flood of one kind of change does not displace
//! entries of another.

use std::net::IpAddr;

use iottly_protocol::ProjectId;

use super::codec;
use super::db::{Conn, Pool, Row};
use crate::{Result, StoreError};
use iottly_core::model::{AuditEntry, Principal, TokenId, UnixMs};

/// Maximum number of stored entries per action of a project. Above, the oldest are replaced by a single
/// [`DROPPED`] entry that counts them.
const KEPT: i64 = 5_000;
/// Maximum number of changes of one action per hour and project, so that every entry stays for at least an
/// hour.
const PER_HOUR: i64 = KEPT;
const HOUR_MS: UnixMs = 60 * 60 * 1000;
/// Action of the entry that replaces dropped ones; its target is their action.
const DROPPED: &str = "audit.dropped";

/// Appends an entry.
pub(super) async fn append(
    tx: &mut Conn,
    project: ProjectId,
    by: &Principal,
    (action, target, detail): (&'static str, String, String),
    now: UnixMs,
) -> Result<()> {
    let row = sqlx::query("SELECT coalesce(max(n), 0) AS n FROM audit WHERE project = $1")
        .bind(codec::id(&project))
        .fetch_one(&mut *tx)
        .await?;
    let number = codec::get::<i64>(&row, "n")? + 1;
    let of_action = last_of(tx, project, action).await? + 1;
    sqlx::query(
        "INSERT INTO audit (project, n, k, at, actor, token, action, target, detail, address) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(codec::id(&project))
    .bind(number)
    .bind(of_action)
    .bind(now)
    .bind(&by.name)
    .bind(&by.actor.id()[..])
    .bind(action)
    .bind(target)
    .bind(detail)
    .bind(by.address.map(|address| address.to_string()))
    .execute(&mut *tx)
    .await?;
    drop_older(tx, project, action, of_action - KEPT).await
}

/// Replaces the entries of an action up to number `last` by one that counts them.
async fn drop_older(tx: &mut Conn, project: ProjectId, action: &str, last: i64) -> Result<()> {
    if last < 1 {
        return Ok(());
    }
    sqlx::query("DELETE FROM audit WHERE project = $1 AND action = $2 AND k < $3")
        .bind(codec::id(&project))
        .bind(action)
        .bind(last)
        .execute(&mut *tx)
        .await?;
    sqlx::query("DELETE FROM audit WHERE project = $1 AND action = $2 AND k < $3 AND target = $4")
        .bind(codec::id(&project))
        .bind(DROPPED)
        .bind(last)
        .bind(action)
        .execute(&mut *tx)
        .await?;
    sqlx::query(
        "UPDATE audit SET action = $4, target = $2, detail = $5, actor = 'cloud', token = $6, address = NULL \
         WHERE project = $1 AND action = $2 AND k = $3",
    )
    .bind(codec::id(&project))
    .bind(action)
    .bind(last)
    .bind(DROPPED)
    .bind(format!("{last} entries up to this one"))
    .bind(&[0u8; 16][..])
    .execute(tx)
    .await?;
    Ok(())
}

/// Refuses a change whose action was made too often within the hour before `now`.
pub(super) async fn admit(
    tx: &mut Conn,
    project: ProjectId,
    action: &'static str,
    now: UnixMs,
) -> Result<()> {
    let last = last_of(tx, project, action).await?;
    if last < PER_HOUR {
        return Ok(());
    }
    let row =
        sqlx::query("SELECT at FROM audit WHERE project = $1 AND action = $2 AND k >= $3 ORDER BY k LIMIT 1")
            .bind(codec::id(&project))
            .bind(action)
            .bind(last - PER_HOUR + 1)
            .fetch_optional(tx)
            .await?;
    let Some(row) = row else { return Ok(()) };
    let at: UnixMs = codec::get(&row, "at")?;
    // An entry from the future was written before the wall clock was set back.
    let within = at <= now && now - at < HOUR_MS;
    if within {
        Err(StoreError::TooOften {
            action,
            max: PER_HOUR,
        })
    } else {
        Ok(())
    }
}

/// Returns the number of an action's newest entry among the entries of the action; 0 when there is none.
async fn last_of(tx: &mut Conn, project: ProjectId, action: &str) -> Result<i64> {
    let row = sqlx::query("SELECT coalesce(max(k), 0) AS k FROM audit WHERE project = $1 AND action = $2")
        .bind(codec::id(&project))
        .bind(action)
        .fetch_one(tx)
        .await?;
    codec::get(&row, "k")
}

/// Returns entries with numbers below `before` and between two times, newest first, at most `limit`.
pub(super) async fn newest(
    pool: &Pool,
    project: ProjectId,
    (before, (from, to)): (Option<u64>, (Option<UnixMs>, Option<UnixMs>)),
    limit: usize,
) -> Result<Vec<AuditEntry>> {
    let rows = sqlx::query(
        "SELECT n, at, actor, token AS actor_id, action, target, detail, address FROM audit \
         WHERE project = $1 AND n < $2 AND at >= $3 AND at <= $4 ORDER BY n DESC LIMIT $5",
    )
    .bind(codec::id(&project))
    .bind(before.map_or(i64::MAX, codec::signed))
    .bind(from.unwrap_or(UnixMs::MIN))
    .bind(to.unwrap_or(UnixMs::MAX))
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(pool)
    .await?;
    rows.iter().map(|row| entry(row, "audit")).collect()
}

/// Reads an entry of the audit log of a project or of an organisation, which are tables of their own.
pub(super) fn entry(row: &Row, table: &'static str) -> Result<AuditEntry> {
    let address: Option<&str> = codec::get(row, "address")?;
    let address = address.map(|text| {
        text.parse::<IpAddr>()
            .map_err(|error| codec::corrupt(table, "address", error.to_string()))
    });
    Ok(AuditEntry {
        number: codec::unsigned(codec::get(row, "n")?, table, "n")?,
        at: codec::get(row, "at")?,
        actor: codec::get(row, "actor")?,
        token: TokenId::from_bytes(codec::bytes(row, table, "actor_id")?),
        action: codec::get(row, "action")?,
        target: codec::get(row, "target")?,
        detail: codec::get(row, "detail")?,
        address: address.transpose()?,
    })
}
