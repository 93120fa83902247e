//! Queries for entries of histories.

use async_trait::async_trait;
use sqlx::QueryBuilder;

use super::db::{Db, Row};
use super::{Backend, codec, logs, messages};
use crate::{EntrySize, FoundLogs, HistoryStore, LogQuery, PageQuery, Result, ScanBounds};
use iottly_core::model::{Cursor, MessageId, Scope, StoredLog, StoredMessage, UnixMs};
use iottly_protocol::{MessageKind, ProjectId};

/// Columns of an entry to read, and of an entry whose size is needed.
const ENTRY: &str = "SELECT project, device, ts, id, kind, device_ts, channel, stream, seq, body, firmware FROM messages WHERE project = ";
const SIZE: &str = "SELECT ts, id, CAST(octet_length(body) AS BIGINT) AS n FROM messages WHERE project = ";

#[async_trait]
impl HistoryStore for Backend {
    async fn scan(&self, scope: Scope, bounds: ScanBounds, limit: usize) -> Result<Vec<StoredMessage>> {
        scanned(ENTRY, scope, bounds, limit)
            .build()
            .fetch_all(&self.readers)
            .await?
            .iter()
            .map(messages::message)
            .collect()
    }

    async fn entry_sizes(&self, scope: Scope, bounds: ScanBounds, limit: usize) -> Result<Vec<EntrySize>> {
        scanned(SIZE, scope, bounds, limit)
            .build()
            .fetch_all(&self.readers)
            .await?
            .iter()
            .map(size)
            .collect()
    }

    async fn entries_between(
        &self,
        scope: Scope,
        newest: Cursor,
        oldest: Cursor,
        limit: usize,
    ) -> Result<Vec<StoredMessage>> {
        let mut query = of_device(ENTRY, scope);
        older(&mut query, "<=", newest);
        older(&mut query, ">=", oldest);
        newest_first(&mut query, limit);
        query
            .build()
            .fetch_all(&self.readers)
            .await?
            .iter()
            .map(messages::message)
            .collect()
    }

    async fn last_sent(&self, scope: Scope) -> Result<Option<UnixMs>> {
        super::streams::last_sent(&self.readers, scope).await
    }

    async fn sent_times(&self, scope: Scope, limit: usize) -> Result<Vec<UnixMs>> {
        let query = sqlx::query(
            "SELECT ts, kind FROM messages WHERE project = $1 AND device = $2 ORDER BY ts DESC, id DESC LIMIT $3",
        )
        .bind(codec::id(&scope.project))
        .bind(codec::id(&scope.device))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let mut times = Vec::new();
        for row in query.fetch_all(&self.readers).await? {
            if codec::kind(codec::get(&row, "kind")?)? == MessageKind::UserDefined {
                times.push(codec::get(&row, "ts")?);
            }
        }
        Ok(times)
    }

    async fn page_sizes(&self, scope: Scope, query: &PageQuery) -> Result<Vec<EntrySize>> {
        paged(SIZE, scope, query)
            .build()
            .fetch_all(&self.readers)
            .await?
            .iter()
            .map(size)
            .collect()
    }

    async fn entries(&self, scope: Scope, keys: &[Cursor]) -> Result<Vec<StoredMessage>> {
        let wanted: Vec<_> = keys.iter().map(|key| (scope, key.timestamp, key.id)).collect();
        let mut found = messages::these(&self.readers, scope.project, &wanted).await?;
        let place = |id: MessageId| keys.iter().position(|key| key.id == id);
        found.sort_by_key(|message| place(message.id));
        found.dedup_by_key(|message| message.id);
        Ok(found)
    }

    async fn page(&self, scope: Scope, query: &PageQuery) -> Result<Vec<StoredMessage>> {
        paged(ENTRY, scope, query)
            .build()
            .fetch_all(&self.readers)
            .await?
            .iter()
            .map(messages::message)
            .collect()
    }

    async fn logs(&self, scope: Scope, limit: usize) -> Result<Vec<StoredLog>> {
        logs::newest(&self.readers, scope, limit).await
    }

    async fn project_logs(&self, project: ProjectId, query: &LogQuery) -> Result<FoundLogs> {
        logs::of_project(&self.readers, project, query).await
    }
}

fn scanned(what: &'static str, scope: Scope, bounds: ScanBounds, limit: usize) -> QueryBuilder<Db> {
    let mut query = of_device(what, scope);
    if let Some(from) = bounds.from {
        query.push(" AND ts >= ").push_bind(from);
    }
    if let Some(to) = bounds.to {
        query.push(" AND ts <= ").push_bind(to);
    }
    if let Some(before) = bounds.before {
        older(&mut query, "<", before);
    }
    newest_first(&mut query, limit);
    query
}

fn paged(what: &'static str, scope: Scope, page: &PageQuery) -> QueryBuilder<Db> {
    let mut query = of_device(what, scope);
    if let Some(kind) = page.kind {
        query.push(" AND kind = ").push_bind(codec::kind_code(kind));
    }
    if let Some(from) = page.from {
        query.push(" AND ts >= ").push_bind(from);
    }
    if let Some(until) = page.until {
        query.push(" AND ts < ").push_bind(until);
    }
    query.push(if page.ascending {
        " ORDER BY ts, id"
    } else {
        " ORDER BY ts DESC, id DESC"
    });
    query
        .push(" LIMIT ")
        .push_bind(i64::try_from(page.limit).unwrap_or(i64::MAX));
    query
        .push(" OFFSET ")
        .push_bind(i64::try_from(page.offset).unwrap_or(i64::MAX));
    query
}

fn of_device(what: &'static str, scope: Scope) -> QueryBuilder<Db> {
    let mut query = QueryBuilder::new(what);
    query
        .push_bind(scope.project.as_bytes().to_vec())
        .push(" AND device = ")
        .push_bind(scope.device.as_bytes().to_vec());
    query
}

fn older(query: &mut QueryBuilder<Db>, order: &'static str, cursor: Cursor) {
    query
        .push(" AND (ts, id) ")
        .push(order)
        .push(" (")
        .push_bind(cursor.timestamp);
    query.push(", ").push_bind(cursor.id.0.to_vec()).push(")");
}

fn newest_first(query: &mut QueryBuilder<Db>, limit: usize) {
    query
        .push(" ORDER BY ts DESC, id DESC LIMIT ")
        .push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
}

fn size(row: &Row) -> Result<EntrySize> {
    let id = MessageId(codec::bytes(row, "messages", "id")?);
    let bytes: i64 = codec::get(row, "n")?;
    Ok(EntrySize {
        cursor: Cursor {
            timestamp: codec::get(row, "ts")?,
            id,
        },
        bytes: bytes.unsigned_abs(),
    })
}
