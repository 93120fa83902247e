//! A page of a device's history: a newest-first scan, filtered here, that stops at a budget.

use std::sync::Arc;
use std::time::{Duration, Instant};

use iottly_protocol::ProjectId;

use super::cursor;
use crate::app::WebServices;
use crate::error::ApiError;
use iottly_cloud::reading::{CHUNK_BYTES, Sieve, Until};
use iottly_cloud::turns::Turn;
use iottly_core::history::filter;
use iottly_core::model::{Cursor, Scope, StoredMessage};
use iottly_filter::Filter;
use iottly_store::ScanBounds;

/// Most entries that one request looks at.
const BUDGET_ENTRIES: usize = 200_000;
/// Longest time that one request looks at entries.
const BUDGET_TIME: Duration = Duration::from_secs(1);
/// Most entries read from the store at once.
const CHUNK: usize = 500;
/// Bytes of messages after which a page ends.
const PAGE_BYTES: u64 = CHUNK_BYTES;

/// What a request asks of a history.
pub(crate) struct Page<'a> {
    /// Most entries in the answer.
    pub(crate) limit: usize,
    /// What the entries have to match.
    pub(crate) filter: Option<&'a str>,
    /// Where the page before it ended.
    pub(crate) before: Option<&'a str>,
}

/// A page, newest first.
pub(crate) struct Found {
    pub(crate) messages: Vec<StoredMessage>,
    /// Where the next page starts, if there is more to look at.
    pub(crate) next: Option<String>,
    /// For as long as the messages are in memory.
    _turn: Option<Turn<ProjectId>>,
}

/// Reads a page. It ends before its limit when its messages are many bytes, or when it took too long to find
/// them.
pub(crate) async fn page(services: &WebServices, scope: Scope, asked: &Page<'_>) -> Result<Found, ApiError> {
    let filter = asked.filter.map(filter).transpose()?;
    let before = asked.before.map(|text| cursor::decode(scope, text)).transpose()?;
    let range = filter.as_ref().map(Filter::timestamp_range).unwrap_or_default();
    let mut scan = Scan {
        services,
        scope,
        bounds: ScanBounds {
            before,
            from: range.min,
            to: range.max,
        },
        found: Vec::new(),
        turn: None,
    };
    let next = match filter {
        None => scan.all(asked.limit).await?,
        Some(filter) => {
            let sieve = services.reading.sieve(scope.project, Arc::new(filter)).await?;
            scan.matching(&sieve, asked.limit).await?
        }
    };
    Ok(Found {
        messages: scan.found,
        next: next.map(|next| cursor::encode(scope, next)),
        _turn: scan.turn,
    })
}

struct Scan<'a> {
    services: &'a WebServices,
    scope: Scope,
    bounds: ScanBounds,
    found: Vec<StoredMessage>,
    turn: Option<Turn<ProjectId>>,
}

impl Scan<'_> {
    /// Takes the first entries; tells where the next page starts.
    async fn all(&mut self, limit: usize) -> Result<Option<Cursor>, ApiError> {
        let (reading, store) = (&self.services.reading, &self.services.store);
        let part = reading
            .part(
                store.as_ref(),
                self.scope,
                self.bounds,
                (limit, PAGE_BYTES),
                &mut self.turn,
            )
            .await?;
        let last = part.messages.last().map(cursor_of);
        self.found = part.messages;
        Ok(last.filter(|_| part.more))
    }

    /// Takes the first entries that match.
    async fn matching(&mut self, sieve: &Sieve, limit: usize) -> Result<Option<Cursor>, ApiError> {
        let (reading, store) = (&self.services.reading, &self.services.store);
        let (mut seen, mut bytes, end) = (0, 0, Instant::now() + BUDGET_TIME);
        loop {
            let most = (CHUNK, CHUNK_BYTES);
            let part = reading
                .part(store.as_ref(), self.scope, self.bounds, most, &mut self.turn)
                .await?;
            // What was measured may be deleted by the time it is read.
            if part.messages.is_empty() && part.more {
                continue;
            }
            let cursors: Vec<_> = part.messages.iter().map(cursor_of).collect();
            let until = Until {
                found: limit - self.found.len(),
                bytes: PAGE_BYTES - bytes,
                time: Some(end),
            };
            let sifted = sieve.sift(part.messages, until).await?;
            seen += sifted.seen;
            bytes += sifted
                .found
                .iter()
                .map(|message| message.payload.get().len() as u64)
                .sum::<u64>();
            self.found.extend(sifted.found);
            let Some(last) = sifted
                .seen
                .checked_sub(1)
                .and_then(|last| cursors.get(last).copied())
            else {
                return Ok(None);
            };
            self.bounds.before = Some(last);
            let rest = part.more || sifted.seen < cursors.len();
            let over = self.found.len() >= limit
                || bytes >= PAGE_BYTES
                || seen >= BUDGET_ENTRIES
                || Instant::now() >= end;
            if over || !rest {
                return Ok(rest.then_some(last));
            }
        }
    }
}

fn cursor_of(message: &StoredMessage) -> Cursor {
    Cursor {
        timestamp: message.timestamp,
        id: message.id,
    }
}
