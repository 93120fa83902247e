use axum::response::Response;

use super::dto::{Entries, Messages, OK};
use super::query::Params;
use super::spaced::held;
use super::{Page, page};
use crate::auth::DeviceAccess;
use crate::error::ApiError;

/// Entries in an answer unless the request says otherwise, and at most.
const DEFAULT_MESSAGES: usize = 10;
const MAX_MESSAGES: usize = 100;

/// The history of a device, newest first.
#[utoipa::path(
    get,
    path = "/messages/{device}",
    tag = "messages",
    params(
        ("numMessages" = Option<i64>, Query, minimum = 1, description = "Most entries; 10 unless given, 100 at most. An answer with long messages ends earlier, with a `next`"),
        ("queryJson" = Option<String>, Query, description = "MongoDB filter as extended JSON"),
        ("before" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, description = "The answer", body = Messages),
        (status = 429, description = "Too many requests of the project wait (`too_many_requests`)"),
    )
)]
pub(super) async fn messages(access: DeviceAccess, params: Params) -> Result<Response, ApiError> {
    let asked = Page {
        limit: params.count("numMessages", DEFAULT_MESSAGES, MAX_MESSAGES)?,
        // A form with an empty field sends the empty text for "no filter".
        filter: params.get("queryJson").filter(|text| !text.trim().is_empty()),
        before: params.get("before"),
    };
    let (services, scope) = (access.services(), access.scope());
    let found = page(services, scope, &asked).await?;
    held(
        services,
        scope.project,
        &Messages {
            messages: Entries(found.messages),
            next: found.next,
            status: OK,
        },
    )
}
