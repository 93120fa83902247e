//! Times in which the cloud was there: from the start of a process to its last look at alerts.

use super::super::codec;
use super::super::db::{Conn, Pool, Row};
use crate::Result;
use iottly_core::alerts::{MAX_SPANS, Span};
use iottly_core::model::UnixMs;

/// Extends the span of a process, whose id is random, to `now`; begins it with its first look.
pub(super) async fn look(connection: &mut Conn, process: [u8; 16], now: UnixMs) -> Result<()> {
    sqlx::query(
        "INSERT INTO alert_looks (process, began, looked) VALUES ($1, $2, $2) ON CONFLICT (process) DO UPDATE SET looked = $2",
    )
    .bind(&process[..])
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets spans that ended before `before`, and all beyond the newest.
pub(super) async fn tidy(tx: &mut Conn, before: UnixMs) -> Result<()> {
    sqlx::query(
        "DELETE FROM alert_looks WHERE looked < $1 OR process IN \
         (SELECT process FROM alert_looks ORDER BY began DESC, process LIMIT $2 OFFSET $3)",
    )
    .bind(before)
    .bind(MAX_SPANS as i64)
    .bind(MAX_SPANS as i64)
    .execute(tx)
    .await?;
    Ok(())
}

/// Returns the newest spans.
pub(super) async fn spans(pool: &Pool) -> Result<Vec<Span>> {
    let rows = sqlx::query("SELECT began, looked FROM alert_looks ORDER BY began DESC LIMIT $1")
        .bind(MAX_SPANS as i64)
        .fetch_all(pool)
        .await?;
    let span = |row: &Row| {
        Ok(Span {
            from: codec::get(row, "began")?,
            to: codec::get(row, "looked")?,
        })
    };
    rows.iter().map(span).collect()
}
