//! Endpoint that lists the audit log of a project, and the pages of all audit logs.

use super::Answer;
use super::dto::{AuditLog, OK};
use super::paged::PageSize;
use super::query::Params;
use super::spaced::Spaced;
use crate::auth::ProjectAccess;
use iottly_core::model::{AuditEntry, Scopes};
use iottly_store::Result;

/// Default and largest number of entries in a response.
const DEFAULT_ENTRIES: usize = 50;
const MAX_ENTRIES: usize = 500;

/// The project's audit log, newest first.
#[utoipa::path(
    get,
    path = "/auditlog",
    tag = "projects",
    params(
        ("numEntries" = Option<i64>, Query, minimum = 1, description = "Maximum number of entries; 50 by default, 500 at most"),
        ("before" = Option<i64>, Query, minimum = 1, description = "`next` of the previous page"),
    ),
    responses((status = 200, description = "Entries of the audit log, newest first", body = AuditLog))
)]
pub(super) async fn entries(access: ProjectAccess, params: Params) -> Answer<AuditLog> {
    access.require(Scopes::ADMIN)?;
    let store = &access.services().store;
    page(&params, async |before, limit| {
        store.audit(access.id(), before, limit).await
    })
    .await
}

/// Returns a page of an audit log; `read` returns entries with numbers below one, newest first.
pub(super) async fn page(
    params: &Params,
    read: impl AsyncFnOnce(Option<u64>, usize) -> Result<Vec<AuditEntry>>,
) -> Answer<AuditLog> {
    let size = PageSize::read(params, "numEntries", DEFAULT_ENTRIES, MAX_ENTRIES)?;
    let entries = read(params.number("before")?, size.to_read()).await?;
    let (entries, next) = size.cut(entries, |last| last.number);
    Ok(Spaced(AuditLog {
        entries,
        next,
        status: OK,
    }))
}
