use std::sync::LazyLock;

use iottly_protocol::{MessageKind, ProjectId, StreamId};
use serde_json::value::RawValue;
use sqlx::QueryBuilder;

use super::db::{self, Conn, Db, Pool, Row};
use super::webhooks::{Enqueued, enqueue};
use super::{codec, usage};
use crate::message_id::MessageIds;
use crate::model::{MessageId, Scope, StoredMessage, UnixMs};
use crate::store::outbox::Outbox;
use crate::store::{PageQuery, Result, ScanBounds};

/// Columns of a message row.
const COLUMNS: usize = 10;
/// Rows of the long insert; few shapes of statement keep the cache of prepared ones warm.
const ROWS: usize = 64;

static INSERT_ONE: LazyLock<String> = LazyLock::new(|| insert_sql(1));
static INSERT_MANY: LazyLock<String> = LazyLock::new(|| insert_sql(ROWS));

/// Keys of the statement that reads entries by their keys; shorter lists repeat the last one.
const KEYS: usize = 16;
/// A join from the keys to the entries, so that each is one search whatever the database knows of the table.
static THESE: LazyLock<String> = LazyLock::new(|| {
    let keys: Vec<_> = (0..KEYS).map(|key| format!("(${}, ${}, ${})", key * 3 + 2, key * 3 + 3, key * 3 + 4)).collect();
    format!(
        "WITH k(d, t, i) AS (VALUES {}) \
         SELECT project, device, ts, id, kind, device_ts, channel, stream, seq, body FROM k CROSS JOIN messages \
         WHERE project = $1 AND device = k.d AND ts = k.t AND id = k.i",
        keys.join(", ")
    )
});

fn insert_sql(rows: usize) -> String {
    let row = |row: usize| {
        let numbers: Vec<_> = (1..=COLUMNS).map(|column| format!("${}", row * COLUMNS + column)).collect();
        format!("({})", numbers.join(","))
    };
    let columns = "project, device, ts, id, kind, device_ts, channel, stream, seq, body";
    format!("INSERT INTO messages ({columns}) VALUES {}", (0..rows).map(row).collect::<Vec<_>>().join(","))
}

/// An entry that the cloud itself writes, stamped now.
pub(super) fn agent_message(ids: &MessageIds, scope: Scope, now: UnixMs, payload: Box<RawValue>) -> StoredMessage {
    let (timestamp, id) = ids.stamp(now);
    let kind = MessageKind::IottlyAgent;
    StoredMessage { id, scope, kind, timestamp, device_timestamp: timestamp, channel: None, payload, origin: None }
}

/// Writes entries, and what is to be sent because of them; called once in a transaction.
pub(super) async fn insert(connection: &mut Conn, outbox: &Outbox, messages: &[&StoredMessage]) -> Result<Enqueued> {
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
    enqueue(connection, outbox, versions, messages).await
}

async fn insert_rows(connection: &mut Conn, sql: &'static str, messages: &[&StoredMessage]) -> Result<()> {
    let mut query = sqlx::query(sql);
    for message in messages {
        query = query
            .bind(&message.scope.project.as_bytes()[..])
            .bind(&message.scope.device.as_bytes()[..])
            .bind(message.timestamp)
            .bind(&message.id.0[..])
            .bind(codec::kind_code(message.kind))
            .bind(message.device_timestamp)
            .bind(message.channel.as_deref().map(codec::text))
            .bind(message.origin.as_ref().map(|(stream, _)| &stream.as_bytes()[..]))
            .bind(message.origin.map(|(_, seq)| codec::signed(seq)))
            .bind(message.payload.get());
    }
    query.execute(connection).await?;
    Ok(())
}

pub(super) async fn scan(pool: &Pool, scope: Scope, bounds: ScanBounds, limit: usize) -> Result<Vec<StoredMessage>> {
    let mut query: QueryBuilder<Db> = QueryBuilder::new(
        "SELECT project, device, ts, id, kind, device_ts, channel, stream, seq, body FROM messages WHERE project = ",
    );
    query.push_bind(&scope.project.as_bytes()[..]).push(" AND device = ").push_bind(&scope.device.as_bytes()[..]);
    if let Some(from) = bounds.from {
        query.push(" AND ts >= ").push_bind(from);
    }
    if let Some(to) = bounds.to {
        query.push(" AND ts <= ").push_bind(to);
    }
    let before = bounds.before.map(|cursor| (cursor.timestamp, cursor.id));
    if let Some((timestamp, id)) = &before {
        query.push(" AND (ts, id) < (").push_bind(timestamp).push(", ").push_bind(&id.0[..]).push(")");
    }
    query.push(" ORDER BY ts DESC, id DESC LIMIT ").push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
    query.build().fetch_all(pool).await?.iter().map(message).collect()
}

/// The entries with these keys, as far as they are there, in no order.
pub(super) async fn these(pool: &Pool, project: ProjectId, keys: &[(Scope, UnixMs, MessageId)]) -> Result<Vec<StoredMessage>> {
    let Some(last) = keys.last() else { return Ok(Vec::new()) };
    let mut found = Vec::with_capacity(keys.len());
    for chunk in keys.chunks(KEYS) {
        let mut query = sqlx::query(THESE.as_str()).bind(&project.as_bytes()[..]);
        for (scope, timestamp, id) in chunk.iter().chain(std::iter::repeat(last)).take(KEYS) {
            query = query.bind(&scope.device.as_bytes()[..]).bind(timestamp).bind(&id.0[..]);
        }
        for row in query.fetch_all(pool).await? {
            found.push(message(&row)?);
        }
    }
    Ok(found)
}

/// A page by number: skips `offset` entries in the order asked for.
pub(super) async fn page(pool: &Pool, scope: Scope, page: &PageQuery) -> Result<Vec<StoredMessage>> {
    let mut query: QueryBuilder<Db> = QueryBuilder::new(
        "SELECT project, device, ts, id, kind, device_ts, channel, stream, seq, body FROM messages WHERE project = ",
    );
    query.push_bind(&scope.project.as_bytes()[..]).push(" AND device = ").push_bind(&scope.device.as_bytes()[..]);
    if let Some(kind) = page.kind {
        query.push(" AND kind = ").push_bind(codec::kind_code(kind));
    }
    if let Some(from) = page.from {
        query.push(" AND ts >= ").push_bind(from);
    }
    if let Some(until) = page.until {
        query.push(" AND ts < ").push_bind(until);
    }
    query.push(if page.ascending { " ORDER BY ts, id" } else { " ORDER BY ts DESC, id DESC" });
    query.push(" LIMIT ").push_bind(i64::try_from(page.limit).unwrap_or(i64::MAX));
    query.push(" OFFSET ").push_bind(i64::try_from(page.offset).unwrap_or(i64::MAX));
    query.build().fetch_all(pool).await?.iter().map(message).collect()
}

fn message(row: &Row) -> Result<StoredMessage> {
    let stream: Option<&[u8]> = codec::get(row, "stream")?;
    let origin = match stream {
        None => None,
        Some(_) => {
            let stream = StreamId::from_bytes(codec::bytes(row, "messages", "stream")?);
            Some((stream, codec::unsigned(codec::get(row, "seq")?, "messages", "seq")?))
        }
    };
    Ok(StoredMessage {
        id: MessageId(codec::bytes(row, "messages", "id")?),
        scope: codec::scope(row, "messages", "device")?,
        kind: codec::kind(codec::get(row, "kind")?)?,
        timestamp: codec::get(row, "ts")?,
        device_timestamp: codec::get(row, "device_ts")?,
        channel: codec::get(row, "channel")?,
        payload: codec::raw(row, "messages", "body")?,
        origin,
    })
}
