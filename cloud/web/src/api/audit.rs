//! Endpoints that list the audit log of a project, and the pages of all audit logs.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use iottly_core::model::{AuditEntry, OrganizationId, Scopes};
use iottly_core::short_form::{AUDIT, audit_document, audit_filter};
use iottly_filter::{Budget, Filter, Range};
use iottly_protocol::ProjectId;
use iottly_store::Store;
use tokio::sync::watch;

use super::Answer;
use super::dto::{AuditEntryDto, AuditLog, OK};
use super::query::Params;
use super::spaced::Spaced;
use crate::app::{App, WebServices};
use crate::auth::ProjectAccess;
use crate::error::ApiError;

/// Default and largest number of entries in a response.
const DEFAULT_ENTRIES: usize = 50;
const MAX_ENTRIES: usize = 500;
/// Number of entries that are read at once for a filter.
const CHUNK: usize = 500;
/// Maximum number of entries that a filter examines for a page.
pub(crate) const MAX_EXAMINED: usize = 20_000;
/// Maximum number of steps of a filter for a page, about twenty milliseconds.
const PAGE_STEPS: u64 = 4_000_000;
/// Maximum number of steps of a filter for an entry.
const ENTRY_STEPS: u64 = 100_000;

/// A valid filter over entries of an audit log.
pub(crate) struct AuditFilter {
    /// The filter as JSON text of the filter language.
    pub(crate) json: String,
    filter: Filter,
}

impl AuditFilter {
    /// Reads a filter: the short form, or JSON; an empty text is none.
    ///
    /// # Errors
    /// 400 with the reason when the text is no filter.
    pub(crate) fn of(text: &str) -> Result<Option<Self>, ApiError> {
        if text.trim().is_empty() {
            return Ok(None);
        }
        let invalid = |reason: String| ApiError::invalid("invalid_filter", reason);
        let json = AUDIT
            .translate(text)
            .map_err(|error| invalid(error.to_string()))?;
        let filter = audit_filter(&json).map_err(|error| invalid(error.to_string()))?;
        Ok(Some(Self { json, filter }))
    }

    /// Returns the range of times outside which no entry matches.
    fn range(&self) -> Range {
        self.filter.range_of("at")
    }
}

/// Page of an audit log, newest first.
pub(crate) struct Entries {
    pub(crate) entries: Vec<AuditEntry>,
    /// Cursor of the next page, if there may be more entries.
    pub(crate) next: Option<u64>,
}

/// Owner of an audit log.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LogOf {
    Project(ProjectId),
    Organization(OrganizationId),
}

impl LogOf {
    /// Reads entries with numbers below one, newest first. Those of a project are within a range of times; an organisation
    /// has 10,000 entries at most.
    async fn read(
        self,
        store: &dyn Store,
        before: Option<u64>,
        range: Range,
        limit: usize,
    ) -> iottly_store::Result<Vec<AuditEntry>> {
        match self {
            Self::Project(project) => {
                let times = (range.min, range.max);
                store.audit_between(project, before, times, limit).await
            }
            Self::Organization(organization) => store.organization_audit(organization, before, limit).await,
        }
    }
}

/// Returns entries of a log with numbers below `before` that match a filter, newest first, at most `limit`.
///
/// # Errors
/// 400 when the filter needs too many steps for an entry, 500 when the store fails.
pub(crate) async fn entries(
    (store, log): (&dyn Store, LogOf),
    filter: Option<&AuditFilter>,
    (mut before, limit): (Option<u64>, usize),
) -> Result<Entries, ApiError> {
    let Some(filter) = filter else {
        let mut entries = log.read(store, before, Range::default(), limit + 1).await?;
        let more = entries.len() > limit;
        entries.truncate(limit);
        let next = entries.last().filter(|_| more).map(|last| last.number);
        return Ok(Entries { entries, next });
    };
    let (mut found, mut examined, mut left) = (Vec::new(), 0, PAGE_STEPS);
    loop {
        let part = log.read(store, before, filter.range(), CHUNK).await?;
        let is_last = part.len() < CHUNK;
        for entry in part {
            if found.len() == limit || examined == MAX_EXAMINED || left < ENTRY_STEPS {
                return Ok(Entries {
                    entries: found,
                    next: before,
                });
            }
            let mut budget = Budget::steps(ENTRY_STEPS);
            let matches = filter
                .filter
                .matches(&audit_document(&entry), &mut budget)
                .map_err(|error| {
                    ApiError::invalid("invalid_filter", format!("the filter was stopped: {error}"))
                })?;
            left -= ENTRY_STEPS - budget.left();
            examined += 1;
            before = Some(entry.number);
            if matches {
                found.push(entry);
            }
        }
        if is_last {
            return Ok(Entries {
                entries: found,
                next: None,
            });
        }
    }
}

/// The project's audit log, newest first.
///
/// A page of a filter may have fewer entries than asked for and yet a `next`: a filter examines 20,000 entries for a page.
#[utoipa::path(
    get,
    path = "/auditlog",
    tag = "projects",
    params(
        ("numEntries" = Option<i64>, Query, minimum = 1, description = "Maximum number of entries; 50 by default, 500 at most"),
        ("before" = Option<i64>, Query, minimum = 1, description = "`next` of the previous page"),
        ("filter" = Option<String>, Query, description = "Conditions such as `who:anne action:device.* at>2026-11-26`, or a filter as JSON"),
    ),
    responses((status = 200, description = "Entries of the audit log, newest first", body = AuditLog))
)]
pub(super) async fn list(access: ProjectAccess, params: Params) -> Answer<AuditLog> {
    access.require(Scopes::ADMIN)?;
    page(access.services(), LogOf::Project(access.id()), &params).await
}

/// Streams the project's audit log as lines of JSON, newest first.
#[utoipa::path(
    get,
    path = "/auditlog/export",
    tag = "projects",
    params(
        ("filter" = Option<String>, Query, description = "Conditions such as `who:anne action:device.*`, or a filter as JSON"),
    ),
    responses((status = 200, description = "The entries, one JSON object per line, newest first", body = String, content_type = "application/x-ndjson"))
)]
pub(super) async fn export(
    access: ProjectAccess,
    State(app): State<App>,
    params: Params,
) -> Result<Response, ApiError> {
    lines(&access, params.get("filter").unwrap_or_default(), app.closing).await
}

/// State of a running export.
struct Export {
    services: WebServices,
    project: ProjectId,
    filter: Option<AuditFilter>,
    closing: watch::Receiver<bool>,
    before: Option<u64>,
    done: bool,
}

/// Returns the project's audit log as lines of JSON.
///
/// # Errors
/// 400 when the text is no filter, 403 without the scope `admin`, 500 when the store fails.
pub(crate) async fn lines(
    access: &ProjectAccess,
    filter: &str,
    closing: watch::Receiver<bool>,
) -> Result<Response, ApiError> {
    access.require(Scopes::ADMIN)?;
    let mut export = Export {
        services: access.services().clone(),
        project: access.id(),
        filter: AuditFilter::of(filter)?,
        closing,
        before: None,
        done: false,
    };
    // Read before the response starts, so that most errors can still set its status.
    let first = export.part().await?;
    let parts = stream::try_unfold((Some(first), export), async |(first, mut export)| {
        let part = match first {
            Some(first) => first,
            None if export.done => return Ok(None),
            None => export.part().await.map_err(|error| error.message().to_owned())?,
        };
        Ok::<_, axum::BoxError>(Some((Bytes::from(part), (None, export))))
    });
    let kind = HeaderValue::from_static("application/x-ndjson");
    Ok(([(header::CONTENT_TYPE, kind)], Body::from_stream(parts)).into_response())
}

impl Export {
    /// Reads the next part of the lines.
    ///
    /// # Errors
    /// Also when the server stops: the response then ends as incomplete.
    async fn part(&mut self) -> Result<Vec<u8>, ApiError> {
        if *self.closing.borrow() {
            return Err(ApiError::unavailable(
                "stopping",
                "the cloud stops; the export is incomplete",
            ));
        }
        let log = (self.services.store.as_ref(), LogOf::Project(self.project));
        let found = entries(log, self.filter.as_ref(), (self.before, CHUNK)).await?;
        (self.before, self.done) = (found.next, found.next.is_none());
        let mut text = Vec::new();
        for entry in found.entries {
            let entry = AuditEntryDto::from(entry);
            serde_json::to_writer(&mut text, &entry).expect("entries have string keys and memory takes all");
            text.push(b'\n');
        }
        Ok(text)
    }
}

/// Returns a page of an audit log.
pub(super) async fn page(services: &WebServices, log: LogOf, params: &Params) -> Answer<AuditLog> {
    let limit = params.count("numEntries", DEFAULT_ENTRIES, MAX_ENTRIES)?;
    let filter = AuditFilter::of(params.get("filter").unwrap_or_default())?;
    let place = (params.number("before")?, limit);
    let found = entries((services.store.as_ref(), log), filter.as_ref(), place).await?;
    Ok(Spaced(AuditLog {
        entries: found.entries.into_iter().map(AuditEntryDto::from).collect(),
        next: found.next,
        status: OK,
    }))
}
