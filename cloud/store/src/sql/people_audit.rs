//! The audit log of organisations. Changes are rare and bounded by hand, so the log is one list with a length.

use super::audit::entry;
use super::codec;
use super::db::{Conn, Pool};
use crate::{Author, Result};
use iottly_core::model::{AuditEntry, OrganizationId, UnixMs};

/// Maximum number of stored entries of an organisation; above, the oldest are removed.
const KEPT: i64 = 10_000;

/// Appends an entry.
pub(super) async fn append(
    tx: &mut Conn,
    organization: OrganizationId,
    by: &Author,
    (action, target, detail): (&'static str, String, String),
    now: UnixMs,
) -> Result<()> {
    let row = sqlx::query("SELECT coalesce(max(n), 0) AS n FROM organization_audit WHERE organization = $1")
        .bind(codec::id(&organization))
        .fetch_one(&mut *tx)
        .await?;
    let number = codec::get::<i64>(&row, "n")? + 1;
    sqlx::query(
        "INSERT INTO organization_audit (organization, n, at, actor, actor_id, action, target, detail, address) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(codec::id(&organization))
    .bind(number)
    .bind(now)
    .bind(&by.name)
    .bind(&by.actor.id()[..])
    .bind(action)
    .bind(target)
    .bind(detail)
    .bind(by.address.map(|address| address.to_string()))
    .execute(&mut *tx)
    .await?;
    sqlx::query("DELETE FROM organization_audit WHERE organization = $1 AND n <= $2")
        .bind(codec::id(&organization))
        .bind(number - KEPT)
        .execute(tx)
        .await?;
    Ok(())
}

/// Returns entries with numbers below `before`, newest first, at most `limit`.
pub(super) async fn newest(
    pool: &Pool,
    organization: OrganizationId,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<AuditEntry>> {
    let rows = sqlx::query(
        "SELECT n, at, actor, actor_id, action, target, detail, address FROM organization_audit \
         WHERE organization = $1 AND n < $2 ORDER BY n DESC LIMIT $3",
    )
    .bind(codec::id(&organization))
    .bind(before.map_or(i64::MAX, codec::signed))
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(pool)
    .await?;
    rows.iter().map(|row| entry(row, "organization_audit")).collect()
}
