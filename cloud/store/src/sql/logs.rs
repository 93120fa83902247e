//! Log lines of devices.

use std::sync::LazyLock;

use iottly_protocol::{DeviceId, LogLine, ProjectId};
use sqlx::Row as _;

use super::codec;
use super::db::{Conn, Pool, Row};
use crate::Result;
use crate::history::{FoundLogs, LogPlace, LogQuery, SEARCHED_LINES};
use iottly_core::model::{Scope, StoredLog, UnixMs};

/// Maximum number of stored lines per device; new lines replace the oldest.
const KEPT: i64 = 1000;

pub(super) async fn append(
    connection: &mut Conn,
    scope: Scope,
    lines: &[LogLine],
    received: UnixMs,
) -> Result<()> {
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
        sqlx::query("INSERT INTO device_logs (project, device, n, level, body, device_ts, at) VALUES ($1, $2, $3, $4, $5, $6, $7)")
            .bind(project)
            .bind(device)
            .bind(last)
            .bind(codec::level_code(line.level))
            .bind(codec::text(&line.text))
            .bind(codec::signed(line.at_ms))
            .bind(received)
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
        sqlx::query("SELECT n, level, body, device_ts, at FROM device_logs WHERE project = $1 AND device = $2 ORDER BY n DESC LIMIT $3")
            .bind(codec::id(&scope.project))
            .bind(codec::id(&scope.device))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(pool)
            .await?;
    rows.iter().map(line).collect()
}

/// Lines of a project before a place, newest first, which an index has in this order.
const PLACES: &str = "FROM device_logs WHERE project = $1 AND (at, device, n) < ($2, $3, $4) \
     ORDER BY at DESC, device DESC, n DESC";

/// Lines of a project among those that are examined; the inner limit bounds them, whatever the text.
static FOUND: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT device, n, level, body, device_ts, at FROM \
           (SELECT device, n, level, body, device_ts, at {PLACES} LIMIT $5) AS newest \
         WHERE level >= $6 AND lower(body) LIKE $7 ESCAPE '\\' ORDER BY at DESC, device DESC, n DESC LIMIT $8"
    )
});

/// Place of the last line that is examined, if there are so many.
static LAST: LazyLock<String> = LazyLock::new(|| format!("SELECT at, device, n {PLACES} LIMIT 1 OFFSET $5"));

/// Returns lines of all devices of a project, newest first.
pub(super) async fn of_project(pool: &Pool, project: ProjectId, query: &LogQuery) -> Result<FoundLogs> {
    let start = LogPlace {
        at: query.until.unwrap_or(UnixMs::MAX),
        device: DeviceId::from_bytes([0xff; 16]),
        number: i64::MAX,
    };
    let start = match query.before {
        Some(before) if before.at <= start.at => before,
        _ => start,
    };
    let rows = sqlx::query(FOUND.as_str())
        .bind(codec::id(&project))
        .bind(start.at)
        .bind(codec::id(&start.device))
        .bind(start.number)
        .bind(i64::try_from(SEARCHED_LINES).unwrap_or(i64::MAX))
        .bind(codec::level_code(query.level))
        .bind(pattern(&query.contains))
        .bind(i64::try_from(query.limit).unwrap_or(i64::MAX))
        .fetch_all(pool)
        .await?;
    let lines: Vec<_> = rows
        .iter()
        .map(|row| {
            Ok((
                DeviceId::from_bytes(codec::bytes(row, "device_logs", "device")?),
                line(row)?,
            ))
        })
        .collect::<Result<_>>()?;
    let next = match lines.last() {
        Some((device, last)) if lines.len() >= query.limit => Some(LogPlace {
            at: last.received,
            device: *device,
            number: last.number,
        }),
        _ => examined(pool, project, start).await?,
    };
    Ok(FoundLogs { lines, next })
}

/// Returns the place of the last line that a search from a place examines; none if it examines all.
async fn examined(pool: &Pool, project: ProjectId, start: LogPlace) -> Result<Option<LogPlace>> {
    let row = sqlx::query(LAST.as_str())
        .bind(codec::id(&project))
        .bind(start.at)
        .bind(codec::id(&start.device))
        .bind(start.number)
        .bind(i64::try_from(SEARCHED_LINES - 1).unwrap_or(i64::MAX))
        .fetch_optional(pool)
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(LogPlace {
        at: codec::get(&row, "at")?,
        device: DeviceId::from_bytes(codec::bytes(&row, "device_logs", "device")?),
        number: codec::get(&row, "n")?,
    }))
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
        received: codec::get(row, "at")?,
        number: codec::get(row, "n")?,
    })
}
