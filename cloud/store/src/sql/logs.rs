//! Log lines of devices.

use iottly_protocol::LogLine;
use sqlx::Row as _;

use super::codec;
use super::db::{Conn, Pool};
use crate::Result;
use iottly_core::model::{Scope, StoredLog};

/// Maximum number of stored lines per device; new lines replace the oldest.
const KEPT: i64 = 1000;

pub(super) async fn append(connection: &mut Conn, scope: Scope, lines: &[LogLine]) -> Result<()> {
    let (project, device) = (codec::id(&scope.project), codec::id(&scope.device));
    let row = sqlx::query("SELECT max(n) AS n FROM device_logs WHERE project = $1 AND device = $2")
        .bind(project)
        .bind(device)
        .fetch_one(&mut *connection)
        .await?;
    let mut last = row.try_get::<Option<i64>, _>("n")?.unwrap_or(0);
    let skipped = lines.len().saturating_sub(KEPT as usize);
    for line in &lines[skipped..] {
        last += 1;
        sqlx::query("INSERT INTO device_logs (project, device, n, level, body, device_ts) VALUES ($1, $2, $3, $4, $5, $6)")
            .bind(project)
            .bind(device)
            .bind(last)
            .bind(codec::level_code(line.level))
            .bind(codec::text(&line.text))
            .bind(codec::signed(line.at_ms))
            .execute(&mut *connection)
            .await?;
    }
    sqlx::query("DELETE FROM device_logs WHERE project = $1 AND device = $2 AND n <= $3")
        .bind(project)
        .bind(device)
        .bind(last - KEPT)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn newest(pool: &Pool, scope: Scope, limit: usize) -> Result<Vec<StoredLog>> {
    let rows =
        sqlx::query("SELECT level, body, device_ts FROM device_logs WHERE project = $1 AND device = $2 ORDER BY n DESC LIMIT $3")
            .bind(codec::id(&scope.project))
            .bind(codec::id(&scope.device))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(pool)
            .await?;
    rows.iter()
        .map(|row| {
            Ok(StoredLog {
                level: codec::level(codec::get(row, "level")?)?,
                text: codec::get(row, "body")?,
                device_timestamp: codec::get(row, "device_ts")?,
            })
        })
        .collect()
}
