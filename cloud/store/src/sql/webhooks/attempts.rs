//! Log of delivery attempts.

use std::sync::LazyLock;

use iottly_protocol::DeviceId;

use super::super::codec;
use super::super::db::{Conn, Pool, Row};
use super::super::multi_row;
use super::ROWS;
use crate::Result;
use crate::webhooks::DeliveryResult;
use iottly_core::model::{MessageId, WebhookAttempt, WebhookKey};
use iottly_core::webhooks::MAX_ATTEMPTS_LOGGED;

const COLUMNS: usize = 12;

fn insert(count: usize) -> String {
    let rows = multi_row::rows(COLUMNS, count);
    format!(
        "INSERT INTO webhook_attempts (project, hook, n, at, message, device, ts, attempt, result, millis, bytes, answer) VALUES {rows}"
    )
}

static MANY: LazyLock<String> = LazyLock::new(|| insert(ROWS));
static ONE: LazyLock<String> = LazyLock::new(|| insert(1));

/// Appends attempts after number `logged` and deletes the oldest above the limit. Returns the last number.
pub(super) async fn append(
    tx: &mut Conn,
    key: WebhookKey,
    logged: i64,
    results: &[&DeliveryResult],
) -> Result<i64> {
    let attempts: Vec<_> = results
        .iter()
        .filter_map(|one| Some((*one, one.attempt.as_ref()?)))
        .collect();
    let last = logged + attempts.len() as i64;
    // Attempts that would be deleted immediately are not written.
    let kept = attempts.len().min(MAX_ATTEMPTS_LOGGED as usize);
    let newest = &attempts[attempts.len() - kept..];
    let mut number = last - kept as i64;
    let (long, rest) = newest.split_at(newest.len() / ROWS * ROWS);
    let chunks = long
        .chunks(ROWS)
        .map(|chunk| (MANY.as_str(), chunk))
        .chain(rest.chunks(1).map(|chunk| (ONE.as_str(), chunk)));
    for (sql, chunk) in chunks {
        let mut query = sqlx::query(sql);
        for (one, attempt) in chunk {
            number += 1;
            query = query
                .bind(codec::id(&key.project))
                .bind(codec::id(&key.hook))
                .bind(number)
                .bind(attempt.at)
                .bind(&one.message.0[..])
                .bind(one.device.as_ref().map(|device| device.as_bytes().to_vec()))
                .bind(one.timestamp)
                .bind(i64::from(attempt.attempt))
                .bind(&attempt.result)
                .bind(codec::signed(attempt.millis))
                .bind(codec::signed(attempt.bytes))
                .bind(codec::text(&attempt.answer));
        }
        query.execute(&mut *tx).await?;
    }
    if last > logged {
        sqlx::query("DELETE FROM webhook_attempts WHERE project = $1 AND hook = $2 AND n <= $3")
            .bind(codec::id(&key.project))
            .bind(codec::id(&key.hook))
            .bind(last - MAX_ATTEMPTS_LOGGED)
            .execute(tx)
            .await?;
    }
    Ok(last)
}

pub(super) async fn newest(
    pool: &Pool,
    key: WebhookKey,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<WebhookAttempt>> {
    let rows = sqlx::query(
        "SELECT n, at, message, device, attempt, result, millis, bytes, answer FROM webhook_attempts \
         WHERE project = $1 AND hook = $2 AND n < $3 ORDER BY n DESC LIMIT $4",
    )
    .bind(codec::id(&key.project))
    .bind(codec::id(&key.hook))
    .bind(before.map_or(i64::MAX, codec::signed))
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(pool)
    .await?;
    rows.iter().map(attempt).collect()
}

fn attempt(row: &Row) -> Result<WebhookAttempt> {
    const TABLE: &str = "webhook_attempts";
    let count = |field| codec::unsigned(codec::get(row, field)?, TABLE, field);
    let device: Option<&[u8]> = codec::get(row, "device")?;
    let device = device
        .map(|_| codec::bytes(row, TABLE, "device").map(DeviceId::from_bytes))
        .transpose()?;
    Ok(WebhookAttempt {
        number: count("n")?,
        at: codec::get(row, "at")?,
        message: MessageId(codec::bytes(row, TABLE, "message")?),
        device,
        attempt: u32::try_from(count("attempt")?).unwrap_or(u32::MAX),
        result: codec::get(row, "result")?,
        millis: count("millis")?,
        bytes: count("bytes")?,
        answer: codec::get(row, "answer")?,
    })
}
