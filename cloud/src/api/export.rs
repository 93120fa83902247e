//! The whole history of a device as lines of JSON, newest first, while it is read from the store.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::watch;

use super::dto::MessageDto;
use super::query::Params;
use crate::auth::DeviceAccess;
use crate::cloud::Services;
use crate::error::ApiError;
use crate::history::{document, filter};
use crate::http::App;
use crate::model::{Cursor, Scope, StoredMessage};
use crate::store::{ScanBounds, StoreError};
use iottly_filter::Filter;

/// Entries read from the store at once; as much is in memory per export.
const CHUNK: usize = 500;

struct Export {
    services: Services,
    scope: Scope,
    bounds: ScanBounds,
    filter: Option<Filter>,
    closing: watch::Receiver<bool>,
    done: bool,
}

/// Streams the entries between `from` (inclusive) and `to` (exclusive) that match `queryJson`.
#[utoipa::path(
    get,
    path = "/device/{device}/messages/export",
    tag = "messages",
    params(
        ("from" = Option<String>, Query, description = "From this moment on: ISO 8601 or unix milliseconds"),
        ("to" = Option<String>, Query, description = "Before this moment: ISO 8601 or unix milliseconds"),
        ("queryJson" = Option<String>, Query, description = "MongoDB filter as extended JSON"),
    ),
    responses((status = 200, description = "Lines of JSON", body = String, content_type = "application/x-ndjson"))
)]
pub(super) async fn messages(access: DeviceAccess, State(app): State<App>, params: Params) -> Result<Response, ApiError> {
    let filter = params.get("queryJson").filter(|text| !text.trim().is_empty()).map(filter).transpose()?;
    let to = params.moment("to")?.map(|to| to.saturating_sub(1));
    let bounds = ScanBounds { from: params.moment("from")?, to, before: None };
    let (services, scope) = (access.services().clone(), access.scope());
    let export = Export { services, scope, bounds, filter, closing: app.closing.clone(), done: false };
    let lines = stream::try_unfold(export, async |mut export| {
        let lines = export.next().await?;
        Ok::<_, StoreError>(lines.map(|lines| (lines, export)))
    });
    let kind = HeaderValue::from_static("application/x-ndjson");
    Ok(([(header::CONTENT_TYPE, kind)], Body::from_stream(lines)).into_response())
}

impl Export {
    /// The lines of the next chunk; none at the end, or when the server stops.
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        while !self.done && !*self.closing.borrow() {
            let chunk = self.services.store.scan(self.scope, self.bounds, CHUNK).await?;
            self.done = chunk.len() < CHUNK;
            if let Some(last) = chunk.last() {
                self.bounds.before = Some(Cursor { timestamp: last.timestamp, id: last.id });
            }
            let lines = self.lines(&chunk);
            if !lines.is_empty() {
                return Ok(Some(lines.into()));
            }
        }
        Ok(None)
    }

    fn lines(&self, chunk: &[StoredMessage]) -> Vec<u8> {
        let mut lines = Vec::new();
        for message in chunk {
            if self.filter.as_ref().is_none_or(|filter| filter.matches(&document(message))) {
                serde_json::to_writer(&mut lines, &MessageDto::from(message))
                    .expect("entries have string keys and memory takes all");
                lines.push(b'\n');
            }
        }
        lines
    }
}
