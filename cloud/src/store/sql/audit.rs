use iottly_protocol::ProjectId;

use super::codec;
use super::db::{Conn, Pool, Row};
use crate::model::{AuditEntry, Principal, TokenId, UnixMs};
use crate::store::Result;

/// Entries kept per project; older ones go as new ones come.
const KEPT: i64 = 10_000;

pub(super) async fn append(
    tx: &mut Conn,
    project: ProjectId,
    by: &Principal,
    (action, target, detail): (&'static str, String, String),
    now: UnixMs,
) -> Result<()> {
    let row = sqlx::query("SELECT coalesce(max(n), 0) AS n FROM audit WHERE project = $1")
        .bind(&project.as_bytes()[..])
        .fetch_one(&mut *tx)
        .await?;
    let number = codec::get::<i64>(&row, "n")? + 1;
    sqlx::query(
        "INSERT INTO audit (project, n, at, actor, token, action, target, detail) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(&project.as_bytes()[..])
    .bind(number)
    .bind(now)
    .bind(&by.name)
    .bind(&by.token.as_bytes()[..])
    .bind(action)
    .bind(target)
    .bind(detail)
    .execute(&mut *tx)
    .await?;
    sqlx::query("DELETE FROM audit WHERE project = $1 AND n <= $2")
        .bind(&project.as_bytes()[..])
        .bind(number - KEPT)
        .execute(tx)
        .await?;
    Ok(())
}

pub(super) async fn newest(pool: &Pool, project: ProjectId, before: Option<u64>, limit: usize) -> Result<Vec<AuditEntry>> {
    let rows = sqlx::query(
        "SELECT n, at, actor, token, action, target, detail FROM audit WHERE project = $1 AND n < $2 ORDER BY n DESC LIMIT $3",
    )
    .bind(&project.as_bytes()[..])
    .bind(before.map_or(i64::MAX, codec::signed))
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(pool)
    .await?;
    rows.iter().map(entry).collect()
}

fn entry(row: &Row) -> Result<AuditEntry> {
    Ok(AuditEntry {
        number: codec::unsigned(codec::get(row, "n")?, "audit", "n")?,
        at: codec::get(row, "at")?,
        actor: codec::get(row, "actor")?,
        token: TokenId::from_bytes(codec::bytes(row, "audit", "token")?),
        action: codec::get(row, "action")?,
        target: codec::get(row, "target")?,
        detail: codec::get(row, "detail")?,
    })
}
