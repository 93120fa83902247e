//! Reads a page of a device's history: scans it newest first, filters the entries, and stops at a budget.

use std::sync::Arc;
use std::time::{Duration, Instant};

use iottly_protocol::ProjectId;

use super::{cursor, read_filter};
use crate::app::WebServices;
use crate::error::ApiError;
use iottly_cloud::Turn;
use iottly_cloud::history_reader::{CHUNK_BYTES, FilterEvaluation, Until};
use iottly_core::model::{Cursor, Scope, StoredMessage};
use iottly_filter::Filter;
use iottly_store::ScanBounds;

/// Maximum number of entries that a request examines.
const BUDGET_ENTRIES: usize = 200_000;
/// Maximum time for which a request examines entries.
const BUDGET_TIME: Duration = Duration::from_secs(1);
/// Maximum number of entries read from the store at once.
const CHUNK: usize = 500;
/// Size of a page's messages at which it ends, in bytes.
const PAGE_BYTES: u64 = CHUNK_BYTES;

/// Parameters of a request for a page of a history.
pub(crate) struct Page<'a> {
    /// Maximum number of entries in the page.
    pub(crate) limit: usize,
    /// Filter that the entries match: conditions, or extended JSON.
    pub(crate) filter: Option<&'a str>,
    /// Cursor of the previous page.
    pub(crate) before: Option<&'a str>,
}

/// Page of a history, newest first.
pub(crate) struct Found {
    pub(crate) messages: Vec<StoredMessage>,
    /// Cursor of the next page, if there are more entries to examine.
    pub(crate) next: Option<String>,
    /// Held for as long as the messages are in memory.
    _turn: Option<Turn<ProjectId>>,
}

/// Reads a page. The page ends before its limit when its messages reach [`PAGE_BYTES`], or when the budget
/// for finding them is used up.
pub(crate) async fn page(services: &WebServices, scope: Scope, asked: &Page<'_>) -> Result<Found, ApiError> {
    let filter = asked.filter.map(read_filter).transpose()?;
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
            let evaluation = services
                .history_reader
                .evaluation(services.store.as_ref(), scope, Arc::new(filter))
                .await?;
            scan.matching(&evaluation, asked.limit).await?
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
    /// Takes the first entries and returns the cursor of the last one, if there are more.
    async fn all(&mut self, limit: usize) -> Result<Option<Cursor>, ApiError> {
        let (reader, store) = (&self.services.history_reader, &self.services.store);
        let part = reader
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

    /// Takes the first entries that match and returns the cursor of the last examined one, if there are more.
    async fn matching(
        &mut self,
        evaluation: &FilterEvaluation,
        limit: usize,
    ) -> Result<Option<Cursor>, ApiError> {
        let (reader, store) = (&self.services.history_reader, &self.services.store);
        let (mut seen, mut bytes, end) = (0, 0, Instant::now() + BUDGET_TIME);
        loop {
            let most = (CHUNK, CHUNK_BYTES);
            let part = reader
                .part(store.as_ref(), self.scope, self.bounds, most, &mut self.turn)
                .await?;
            // Entries may be deleted between measuring and reading them.
            if part.messages.is_empty() && part.more {
                continue;
            }
            let cursors: Vec<_> = part.messages.iter().map(cursor_of).collect();
            let until = Until {
                found: limit - self.found.len(),
                bytes: PAGE_BYTES - bytes,
                time: Some(end),
            };
            let selected = evaluation.select(part.messages, until).await?;
            seen += selected.seen;
            bytes += selected
                .found
                .iter()
                .map(|message| message.payload.get().len() as u64)
                .sum::<u64>();
            self.found.extend(selected.found);
            let Some(last) = selected
                .seen
                .checked_sub(1)
                .and_then(|last| cursors.get(last).copied())
            else {
                return Ok(None);
            };
            self.bounds.before = Some(last);
            let rest = part.more || selected.seen < cursors.len();
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
