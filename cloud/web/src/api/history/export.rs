//! Endpoint that streams the whole history of a device as lines of JSON, newest first, while reading it from
//! the store.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::watch;

use super::read_filter;
use crate::api::query::Params;
use crate::app::App;
use crate::app::WebServices;
use crate::auth::DeviceAccess;
use crate::error::ApiError;
use iottly_cloud::history_reader::{CHUNK_BYTES, UnreadResponse, Until};
use iottly_core::history::append_line;
use iottly_core::model::{Cursor, Scope, StoredMessage};
use iottly_filter::Filter;
use iottly_store::ScanBounds;

/// Maximum number of entries read from the store at once.
const CHUNK: usize = 500;
/// Pause before an export that has started asks for its turn again.
const RETRY: Duration = Duration::from_millis(100);

/// State of a running export.
struct Export {
    services: WebServices,
    scope: Scope,
    bounds: ScanBounds,
    filter: Option<Arc<Filter>>,
    closing: watch::Receiver<bool>,
    done: bool,
    /// Counts a chunk as unread for as long as the export lasts.
    _held: Option<UnreadResponse>,
}

/// Streams the entries between `from` (inclusive) and `to` (exclusive) that match `queryJson`.
#[utoipa::path(
    get,
    path = "/device/{device}/messages/export",
    tag = "messages",
    params(
        ("from" = Option<String>, Query, description = "Earliest time, inclusive: ISO 8601 or Unix milliseconds"),
        ("to" = Option<String>, Query, description = "Latest time, exclusive: ISO 8601 or Unix milliseconds"),
        ("queryJson" = Option<String>, Query, description = "Conditions such as `temp>30 at>2026-11-26`, or a MongoDB filter as extended JSON"),
    ),
    responses(
        (status = 200, description = "The entries, one JSON object per line, newest first", body = String, content_type = "application/x-ndjson"),
        (status = 429, description = "Too many requests of the project are waiting, or too many of its exports are not being read (`too_many_requests`)"),
    )
)]
pub(crate) async fn messages(
    access: DeviceAccess,
    State(app): State<App>,
    params: Params,
) -> Result<Response, ApiError> {
    let filter = params
        .get("queryJson")
        .filter(|text| !text.trim().is_empty())
        .map(read_filter)
        .transpose()?;
    let to = params.moment("to")?.map(|to| to.saturating_sub(1));
    let bounds = ScanBounds {
        from: params.moment("from")?,
        to,
        before: None,
    };
    let (services, scope) = (access.services().clone(), access.scope());
    let held = services.history_reader.hold(scope.project, CHUNK_BYTES)?;
    let filter = filter.map(Arc::new);
    let mut export = Export {
        services,
        scope,
        bounds,
        filter,
        closing: app.closing.clone(),
        done: false,
        _held: held,
    };
    // Read before the response starts, so that most errors can still set its status.
    let first = export.chunk().await?;
    let lines = stream::try_unfold((Some(first), export), async |(first, mut export)| {
        let lines = match first.filter(|lines| !lines.is_empty()) {
            Some(lines) => Some(lines),
            None => export.next().await.map_err(|error| error.message().to_owned())?,
        };
        Ok::<_, axum::BoxError>(lines.map(|lines| (Bytes::from(lines), (None, export))))
    });
    let kind = HeaderValue::from_static("application/x-ndjson");
    Ok(([(header::CONTENT_TYPE, kind)], Body::from_stream(lines)).into_response())
}

impl Export {
    /// Returns the lines of the next chunk that has any; `None` at the end.
    ///
    /// # Errors
    /// Also when the server stops: the response then ends as incomplete, and not as if there were no more entries.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, ApiError> {
        while !self.done {
            if *self.closing.borrow() {
                return Err(ApiError::unavailable(
                    "stopping",
                    "the cloud stops; the export is incomplete",
                ));
            }
            match self.chunk().await {
                Ok(lines) if lines.is_empty() => {}
                Ok(lines) => return Ok(Some(lines)),
                // The response has started and its status cannot change, so the export waits for its turn.
                Err(error) if error.status() == StatusCode::TOO_MANY_REQUESTS => {
                    tokio::time::sleep(RETRY).await
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Reads the next chunk and returns the lines of the matching entries.
    async fn chunk(&mut self) -> Result<Vec<u8>, ApiError> {
        let (reader, store) = (&self.services.history_reader, &self.services.store);
        let evaluation = match &self.filter {
            None => None,
            Some(filter) => Some(
                reader
                    .evaluation(store.as_ref(), self.scope, Arc::clone(filter))
                    .await?,
            ),
        };
        let mut turn = None;
        let part = reader
            .part(
                store.as_ref(),
                self.scope,
                self.bounds,
                (CHUNK, CHUNK_BYTES),
                &mut turn,
            )
            .await?;
        let last = part.messages.last().map(|last| Cursor {
            timestamp: last.timestamp,
            id: last.id,
        });
        let found = match evaluation {
            None => part.messages,
            Some(evaluation) => {
                evaluation
                    .select(
                        part.messages,
                        Until {
                            found: usize::MAX,
                            bytes: u64::MAX,
                            time: None,
                        },
                    )
                    .await?
                    .found
            }
        };
        self.bounds.before = last.or(self.bounds.before);
        self.done = !part.more;
        Ok(lines(&found))
    }
}

fn lines(messages: &[StoredMessage]) -> Vec<u8> {
    let mut lines = Vec::new();
    for message in messages {
        append_line(&mut lines, message);
    }
    lines
}
