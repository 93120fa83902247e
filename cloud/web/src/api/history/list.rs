//! Endpoint that returns a device's history by cursors.

use axum::response::Response;

use super::{Page, page};
use crate::api::dto::{Entries, Messages, OK};
use crate::api::query::Params;
use crate::api::spaced::counted_response;
use crate::auth::DeviceAccess;
use crate::error::ApiError;

/// Default and largest number of entries in a response.
const DEFAULT_MESSAGES: usize = 10;
const MAX_MESSAGES: usize = 100;

/// Returns the history of a device, newest first.
#[utoipa::path(
    get,
    path = "/messages/{device}",
    tag = "messages",
    params(
        ("numMessages" = Option<i64>, Query, minimum = 1, description = "Maximum number of entries; 10 by default, 100 at most. A response with long messages has fewer entries and a `next`"),
        ("queryJson" = Option<String>, Query, description = "Conditions such as `temp>30 at>2026-11-26`, or a MongoDB filter as extended JSON"),
        ("before" = Option<String>, Query, description = "`next` of the previous page"),
    ),
    responses(
        (status = 200, description = "The entries, newest first", body = Messages),
        (status = 429, description = "Too many requests of the project are waiting (`too_many_requests`)"),
    )
)]
pub(crate) async fn messages(access: DeviceAccess, params: Params) -> Result<Response, ApiError> {
    let asked = Page {
        limit: params.count("numMessages", DEFAULT_MESSAGES, MAX_MESSAGES)?,
        // A form with an empty field sends an empty text for "no filter".
        filter: params.get("queryJson").filter(|text| !text.trim().is_empty()),
        before: params.get("before"),
    };
    let (services, scope) = (access.services(), access.scope());
    let found = page(services, scope, &asked).await?;
    counted_response(
        services,
        scope.project,
        &Messages {
            messages: Entries(found.messages),
            next: found.next,
            status: OK,
        },
    )
}
