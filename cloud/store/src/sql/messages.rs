//! Rows of messages: inserting them and reading them by key.

use std::sync::LazyLock;

use iottly_protocol::{MessageKind, ProjectId, StreamId};
use serde_json::value::RawValue;

use super::db::{self, Conn, Pool, Row};
use super::webhooks::{Enqueued, enqueue};
use super::{codec, multi_row, usage};
use crate::Result;
use crate::webhook_cache::WebhookCache;
use iottly_core::MessageIds;
use iottly_core::model::{MessageId, Scope, StoredMessage, UnixMs};

/// Number of columns of a message row.
const COLUMNS: usize = 11;
/// Rows of the multi-row insert. Few distinct statements keep the cache of prepared statements effective.
const ROWS: usize = 64;

static INSERT_ONE: LazyLock<String> = LazyLock::new(|| insert_sql(1));
static INSERT_MANY: LazyLock<String> = LazyLock::new(|| insert_sql(ROWS));

/// Keys of the statement that reads entries by key; shorter lists repeat the last one.
const KEYS: usize = 16;
static THESE: LazyLock<String> = LazyLock::new(|| {
    by_keys("project, device, ts, id, kind, device_ts, channel, stream, seq, body, firmware")
});
static SIZES: LazyLock<String> = LazyLock::new(|| by_keys("id, CAST(octet_length(body) AS BIGINT) AS n"));

/// Returns a statement that joins the keys with the entries, so that each key is one index search regardless
/// of the database's statistics.
fn by_keys(columns: &str) -> String {
    let keys: Vec<_> = (0..KEYS)
        .map(|key| format!("(${}, ${}, ${})", key * 3 + 2, key * 3 + 3, key * 3 + 4))
        .collect();
    format!(
        "WITH v(d, t, i) AS (VALUES {}), k AS (SELECT DISTINCT d, t, i FROM v) SELECT {columns} FROM k CROSS JOIN messages \
         WHERE project = $1 AND device = k.d AND ts = k.t AND id = k.i",
        keys.join(", ")
    )
}

fn insert_sql(rows: usize) -> String {
    let columns = "project, device, ts, id, kind, device_ts, channel, stream, seq, body, firmware";
    format!(
        "INSERT INTO messages ({columns}) VALUES {}",
        multi_row::rows(COLUMNS, rows)
    )
}

/// Returns an entry written by the cloud, with the time `now`.
pub(super) fn agent_message(
    ids: &MessageIds,
    scope: Scope,
    now: UnixMs,
    payload: Box<RawValue>,
) -> StoredMessage {
    let (timestamp, id) = ids.stamp(now);
    let kind = MessageKind::IottlyAgent;
    StoredMessage {
        id,
        scope,
        kind,
        timestamp,
        device_timestamp: timestamp,
        channel: None,
        payload,
        origin: None,
        firmware: None,
    }
}

/// Inserts entries and the deliveries they cause; called once per transaction, and once more for the entries about alerts
/// that these entries raise.
pub(super) async fn insert(
    connection: &mut Conn,
    cache: &WebhookCache,
    messages: &[&StoredMessage],
) -> Result<Enqueued> {
    if messages.is_empty() {
        return Ok(Enqueued::default());
    }
    db::make_room(connection, messages.iter().map(|message| message.timestamp)).await?;
    let versions = usage::count(connection, messages).await?;
    let mut chunks = messages.chunks_exact(ROWS);
    for chunk in &mut chunks {
        insert_rows(connection, INSERT_MANY.as_str(), chunk).await?;
    }
    for message in chunks.remainder() {
        insert_rows(connection, INSERT_ONE.as_str(), std::slice::from_ref(message)).await?;
    }
    let mut enqueued = enqueue(connection, cache, versions.hooks, messages).await?;
    enqueued.alert_versions = versions.alerts;
    Ok(enqueued)
}

async fn insert_rows(connection: &mut Conn, sql: &'static str, messages: &[&StoredMessage]) -> Result<()> {
    let mut query = sqlx::query(sql);
    for message in messages {
        query = query
            .bind(codec::id(&message.scope.project))
            .bind(codec::id(&message.scope.device))
            .bind(message.timestamp)
            .bind(&message.id.0[..])
            .bind(codec::kind_code(message.kind))
            .bind(message.device_timestamp)
            .bind(message.channel.as_deref().map(codec::text))
            .bind(message.origin.as_ref().map(|(stream, _)| codec::id(stream)))
            .bind(message.origin.map(|(_, seq)| codec::signed(seq)))
            .bind(message.payload.get())
            .bind(message.firmware.map(|mark| mark.to_string()));
    }
    query.execute(connection).await?;
    Ok(())
}

/// Key of an entry: project and device, timestamp, id.
pub(super) type Key = (Scope, UnixMs, MessageId);

/// Returns the entries with these keys, as far as they exist, in no particular order.
pub(super) async fn these(pool: &Pool, project: ProjectId, keys: &[Key]) -> Result<Vec<StoredMessage>> {
    of_keys(pool, THESE.as_str(), project, keys, message).await
}

/// Returns ids and sizes of the entries with these keys, as far as they exist, in no particular order.
pub(super) async fn sizes_of(pool: &Pool, project: ProjectId, keys: &[Key]) -> Result<Vec<(MessageId, u64)>> {
    let size = |row: &Row| {
        let bytes: i64 = codec::get(row, "n")?;
        Ok((
            MessageId(codec::bytes(row, "messages", "id")?),
            bytes.unsigned_abs(),
        ))
    };
    of_keys(pool, SIZES.as_str(), project, keys, size).await
}

async fn of_keys<T>(
    pool: &Pool,
    sql: &'static str,
    project: ProjectId,
    keys: &[Key],
    read: impl Fn(&Row) -> Result<T>,
) -> Result<Vec<T>> {
    let Some(last) = keys.last() else {
        return Ok(Vec::new());
    };
    let mut found = Vec::with_capacity(keys.len());
    for chunk in keys.chunks(KEYS) {
        let mut query = sqlx::query(sql).bind(codec::id(&project));
        for (scope, timestamp, id) in chunk.iter().chain(std::iter::repeat(last)).take(KEYS) {
            query = query
                .bind(codec::id(&scope.device))
                .bind(timestamp)
                .bind(&id.0[..]);
        }
        for row in query.fetch_all(pool).await? {
            found.push(read(&row)?);
        }
    }
    Ok(found)
}

/// Reads an entry from a row.
pub(super) fn message(row: &Row) -> Result<StoredMessage> {
    let stream: Option<&[u8]> = codec::get(row, "stream")?;
    let origin = match stream {
        None => None,
        Some(_) => {
            let stream = StreamId::from_bytes(codec::bytes(row, "messages", "stream")?);
            Some((
                stream,
                codec::unsigned(codec::get(row, "seq")?, "messages", "seq")?,
            ))
        }
    };
    let mark: Option<&str> = codec::get(row, "firmware")?;
    Ok(StoredMessage {
        id: MessageId(codec::bytes(row, "messages", "id")?),
        scope: codec::scope(row, "messages", "device")?,
        kind: codec::kind(codec::get(row, "kind")?)?,
        timestamp: codec::get(row, "ts")?,
        device_timestamp: codec::get(row, "device_ts")?,
        channel: codec::get(row, "channel")?,
        payload: codec::raw(row, "messages", "body")?,
        origin,
        firmware: mark
            .map(|text| codec::mark(text, "messages", "firmware"))
            .transpose()?,
    })
}
