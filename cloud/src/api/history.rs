//! A page of a device's history: a newest-first scan, filtered here, that stops at a budget.

use std::time::{Duration, Instant};

use super::cursor;
use crate::error::ApiError;
use crate::history::{document, filter};
use crate::model::{Cursor, Scope, StoredMessage};
use crate::store::{ScanBounds, Store};
use iottly_filter::Filter;

/// Most entries that one request looks at.
const BUDGET_ENTRIES: usize = 200_000;
/// Longest time that one request looks at entries.
const BUDGET_TIME: Duration = Duration::from_secs(1);
/// Most entries read from the store at once: few enough to leave the thread to others in between.
const CHUNK: usize = 500;

/// What a request asks of a history.
pub(crate) struct Page<'a> {
    /// Most entries in the answer.
    pub(crate) limit: usize,
    /// What the entries have to match.
    pub(crate) filter: Option<&'a str>,
    /// Where the page before it ended.
    pub(crate) before: Option<&'a str>,
}

/// A page, newest first, and where the next one starts if there is more to look at.
pub(crate) async fn page(
    store: &dyn Store,
    scope: Scope,
    asked: &Page<'_>,
) -> Result<(Vec<StoredMessage>, Option<String>), ApiError> {
    let filter = asked.filter.map(filter).transpose()?;
    let before = asked.before.map(|text| cursor::decode(scope, text)).transpose()?;
    let budget = Budget { entries: BUDGET_ENTRIES, time: BUDGET_TIME };
    let (found, next) = scan(store, scope, filter.as_ref(), before, asked.limit, &budget).await?;
    Ok((found, next.map(|next| cursor::encode(scope, next))))
}

struct Budget {
    entries: usize,
    time: Duration,
}

async fn scan(
    store: &dyn Store,
    scope: Scope,
    filter: Option<&Filter>,
    before: Option<Cursor>,
    limit: usize,
    budget: &Budget,
) -> Result<(Vec<StoredMessage>, Option<Cursor>), ApiError> {
    let range = filter.map(Filter::timestamp_range).unwrap_or_default();
    let mut bounds = ScanBounds { before, from: range.min, to: range.max };
    let (mut found, mut seen) = (Vec::new(), 0);
    let began = Instant::now();
    loop {
        let wanted = if filter.is_some() { CHUNK } else { limit - found.len() };
        // One more than is looked at tells whether there is anything behind it.
        let mut chunk = store.scan(scope, bounds, wanted + 1).await?;
        let more = chunk.len() > wanted;
        chunk.truncate(wanted);
        let last_of_chunk = chunk.len();
        for (index, message) in chunk.into_iter().enumerate() {
            seen += 1;
            let cursor = Cursor { timestamp: message.timestamp, id: message.id };
            bounds.before = Some(cursor);
            if filter.is_none_or(|filter| filter.matches(&document(&message))) {
                found.push(message);
            }
            let rest = more || index + 1 < last_of_chunk;
            if found.len() == limit || seen >= budget.entries || began.elapsed() >= budget.time {
                return Ok((found, rest.then_some(cursor)));
            }
        }
        if !more {
            return Ok((found, None));
        }
    }
}
