//! Who changed what.

use serde::Serialize;

use super::Answer;
use super::dto::{Date, OK};
use super::query::Params;
use super::spaced::Spaced;
use crate::auth::ProjectAccess;
use crate::model::{AuditEntry, Scopes, TokenId};

/// Entries in an answer unless the request says otherwise, and at most.
const DEFAULT_ENTRIES: usize = 50;
const MAX_ENTRIES: usize = 500;

#[derive(Serialize)]
pub(super) struct Audit {
    entries: Vec<Entry>,
    /// Given when there are more: `before=<next>` continues.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
    status: u16,
}

#[derive(Serialize)]
struct Entry {
    number: u64,
    at: Date,
    actor: String,
    token: TokenId,
    action: String,
    target: String,
    detail: String,
}

impl From<AuditEntry> for Entry {
    fn from(entry: AuditEntry) -> Self {
        let AuditEntry { number, at, actor, token, action, target, detail } = entry;
        Self { number, at: at.into(), actor, token, action, target, detail }
    }
}

/// The project's audit log, newest first.
pub(super) async fn entries(access: ProjectAccess, params: Params) -> Answer<Audit> {
    access.require(Scopes::ADMIN)?;
    let limit = params.count("numEntries", DEFAULT_ENTRIES, MAX_ENTRIES)?;
    let mut entries = access.services().store.audit(access.id(), params.number("before")?, limit + 1).await?;
    let more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().filter(|_| more).map(|last| last.number);
    Ok(Spaced(Audit { entries: entries.into_iter().map(Into::into).collect(), next, status: OK }))
}
