//! Endpoint that returns a device's history by page numbers, as documented: dates are ISO texts, an empty
//! page is 404.

use std::collections::VecDeque;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, stream};
use iottly_protocol::MessageKind;

use crate::api::dto::{MessagePage, OK, PageEntries};
use crate::api::query::Params;
use crate::api::spaced::{self, JSON, counted_response};
use crate::app::WebServices;
use crate::auth::DeviceAccess;
use crate::error::ApiError;
use iottly_cloud::history_reader::ReadError;
use iottly_cloud::history_reader::{CHUNK_BYTES, UnreadResponse};
use iottly_core::model::Scope;
use iottly_store::{EntrySize, PageQuery};

/// Default and largest number of entries in a page.
const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: u64 = 100;
/// Largest page number; older entries are reached by dates.
const MAX_PAGE: u64 = 10_000;
/// Pause before a page that has started asks for its turn again.
const RETRY: Duration = Duration::from_millis(100);

/// Returns a page of the history by its number; an empty page is 404.
#[utoipa::path(
    get,
    path = "/device/{device}/messages/paginated",
    tag = "messages",
    params(
        ("p" = Option<i64>, Query, minimum = 1, maximum = 10000, description = "Number of the page; 1 by default"),
        ("l" = Option<i64>, Query, minimum = 1, maximum = 100, description = "Number of entries in a page; 50 by default"),
        ("type" = Option<String>, Query, pattern = "^(all|userdefined|iottlyagent)$", description = "`all`, `userdefined` or `iottlyagent`"),
        ("from" = Option<String>, Query, description = "Earliest time, inclusive: ISO 8601 or Unix milliseconds"),
        ("to" = Option<String>, Query, description = "Latest time, exclusive: ISO 8601 or Unix milliseconds"),
        ("sort" = Option<String>, Query, pattern = "^(desc|asc)$", description = "`desc` or `asc`"),
    ),
    responses((status = 200, description = "The entries of the page", body = MessagePage))
)]
pub(crate) async fn messages(access: DeviceAccess, params: Params) -> Result<Response, ApiError> {
    let (services, scope, query) = (access.services(), access.scope(), query(&params)?);
    let sizes = services.store.page_sizes(scope, &query).await?;
    if sizes.is_empty() {
        return Err(ApiError::missing("page has no messages"));
    }
    if sizes.iter().map(|size| size.bytes).sum::<u64>() > CHUNK_BYTES {
        let held = services.history_reader.hold(scope.project, CHUNK_BYTES)?;
        let pieces = Pieces {
            services: services.clone(),
            scope,
            sizes: sizes.into(),
            first: true,
            _held: held,
        };
        return Ok(([JSON], Body::from_stream(pieces.stream())).into_response());
    }
    let mut turn = None;
    let keys: Vec<_> = sizes.iter().map(|size| size.cursor).collect();
    let bytes = sizes.iter().map(|size| size.bytes).sum();
    let messages = services
        .history_reader
        .entries(services.store.as_ref(), scope, &keys, bytes, &mut turn)
        .await?;
    counted_response(
        services,
        scope.project,
        &MessagePage {
            messages: PageEntries(messages),
            status: OK,
        },
    )
}

/// Large page, read from the store in pieces while it is sent.
struct Pieces {
    services: WebServices,
    scope: Scope,
    /// Entries that are not sent yet.
    sizes: VecDeque<EntrySize>,
    first: bool,
    _held: Option<UnreadResponse>,
}

impl Pieces {
    fn stream(self) -> impl Stream<Item = Result<Vec<u8>, axum::BoxError>> {
        stream::try_unfold(Some(self), async |pieces| {
            let Some(mut pieces) = pieces else { return Ok(None) };
            let piece = pieces.next().await?;
            let rest = (!pieces.sizes.is_empty()).then_some(pieces);
            Ok(Some((piece, rest)))
        })
    }

    /// Returns the text of the next entries, with the start of the document before the first and its end
    /// after the last.
    async fn next(&mut self) -> Result<Vec<u8>, axum::BoxError> {
        let (mut keys, mut bytes) = (Vec::new(), 0);
        while let Some(size) = self
            .sizes
            .pop_front_if(|size| keys.is_empty() || bytes + size.bytes <= CHUNK_BYTES)
        {
            keys.push(size.cursor);
            bytes += size.bytes;
        }
        let mut turn = None;
        let store = self.services.store.as_ref();
        let messages = loop {
            match self
                .services
                .history_reader
                .entries(store, self.scope, &keys, bytes, &mut turn)
                .await
            {
                // The response has started and its status cannot change, so the page waits for its turn.
                Err(ReadError::Queue(_) | ReadError::Unread) => tokio::time::sleep(RETRY).await,
                other => break other.map_err(|error| ApiError::from(error).message().to_owned())?,
            }
        };
        let entries = spaced::to_vec(&PageEntries(messages))?;
        let entries = entries
            .strip_prefix(b"[")
            .and_then(|text| text.strip_suffix(b"]"))
            .unwrap_or(&entries);
        let mut piece = Vec::with_capacity(entries.len() + 32);
        piece.extend_from_slice(if std::mem::take(&mut self.first) {
            b"{\"messages\": ["
        } else {
            b", "
        });
        piece.extend_from_slice(entries);
        if self.sizes.is_empty() {
            piece.extend_from_slice(format!("], \"status\": {OK}}}\n").as_bytes());
        }
        Ok(piece)
    }
}

fn query(params: &Params) -> Result<PageQuery, ApiError> {
    let invalid = |message: &str| ApiError::invalid("invalid_query", message);
    let page = params.number("p")?.unwrap_or(1);
    let limit = params.number("l")?.unwrap_or(DEFAULT_LIMIT as u64);
    if page > MAX_PAGE {
        return Err(invalid("p is over 10000; use from and to instead"));
    }
    if limit > MAX_LIMIT {
        return Err(invalid("l is not between 1 and 100"));
    }
    let kind = match params.get("type") {
        None | Some("all") => None,
        Some("userdefined") => Some(MessageKind::UserDefined),
        Some("iottlyagent") => Some(MessageKind::IottlyAgent),
        Some(_) => return Err(invalid("type is not all, userdefined or iottlyagent")),
    };
    let ascending = match params.get("sort") {
        None | Some("desc") => false,
        Some("asc") => true,
        Some(_) => return Err(invalid("sort is not desc or asc")),
    };
    let limit = limit as usize;
    let offset = (page as usize - 1) * limit;
    Ok(PageQuery {
        kind,
        from: params.moment("from")?,
        until: params.moment("to")?,
        ascending,
        offset,
        limit,
    })
}
