//! Log lines of devices.

use iottly_protocol::{DeviceId, LogLine, ProjectId};
use sqlx::Row as _;

use super::codec;
use super::db::{Conn, Pool, Row};
use crate::Result;
use crate::history::{LogQuery, SEARCHED_LINES};
use iottly_core::model::{Scope, StoredLog, UnixMs};

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
    rows.iter().map(line).collect()
}

/// Returns lines of all devices of a project, newest first.
pub(super) async fn of_project(
    pool: &Pool,
    project: ProjectId,
    query: &LogQuery,
) -> Result<Vec<(DeviceId, StoredLog)>> {
    // The inner limit bounds the lines that are searched, whatever the text.
    let rows = sqlx::query(
        "SELECT device, level, body, device_ts FROM \
           (SELECT device, n, level, body, device_ts FROM device_logs WHERE project = $1 AND device_ts <= $2 \
            ORDER BY device_ts DESC LIMIT $3) AS newest \
         WHERE level >= $4 AND lower(body) LIKE $5 ESCAPE '\\' ORDER BY device_ts DESC, device, n DESC LIMIT $6",
    )
    .bind(codec::id(&project))
    .bind(query.until.unwrap_or(UnixMs::MAX))
    .bind(i64::try_from(SEARCHED_LINES).unwrap_or(i64::MAX))
    .bind(codec::level_code(query.level))
    .bind(pattern(&query.contains))
    .bind(i64::try_from(query.limit).unwrap_or(i64::MAX))
    .fetch_all(pool)
    .await?;
    rows.iter()
        .map(|row| {
            Ok((
                DeviceId::from_bytes(codec::bytes(row, "device_logs", "device")?),
                line(row)?,
            ))
        })
        .collect()
}

/// Returns the pattern of texts that contain a text.
fn pattern(text: &str) -> String {
    let mut pattern = "%".to_owned();
    for letter in codec::text(&text.to_ascii_lowercase()).chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern + "%"
}

fn line(row: &Row) -> Result<StoredLog> {
    Ok(StoredLog {
        level: codec::level(codec::get(row, "level")?)?,
        text: codec::get(row, "body")?,
        device_timestamp: codec::get(row, "device_ts")?,
    })
}
