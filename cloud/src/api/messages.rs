use super::dto::{Entries, Messages, OK};
use super::query::Params;
use super::spaced::Spaced;
use super::{Answer, Page, page};
use crate::auth::DeviceAccess;

/// Entries in an answer unless the request says otherwise, and at most.
const DEFAULT_MESSAGES: usize = 10;
const MAX_MESSAGES: usize = 100;

/// The history of a device, newest first.
#[utoipa::path(
    get,
    path = "/messages/{device}",
    tag = "messages",
    params(
        ("numMessages" = Option<i64>, Query, minimum = 1, description = "Most entries; 10 unless given, 100 at most"),
        ("queryJson" = Option<String>, Query, description = "MongoDB filter as extended JSON"),
        ("before" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses((status = 200, description = "The answer", body = Messages))
)]
pub(super) async fn messages(access: DeviceAccess, params: Params) -> Answer<Messages> {
    let asked = Page {
        limit: params.count("numMessages", DEFAULT_MESSAGES, MAX_MESSAGES)?,
        // A form with an empty field sends the empty text for "no filter".
        filter: params.get("queryJson").filter(|text| !text.trim().is_empty()),
        before: params.get("before"),
    };
    let (messages, next) = page(access.services().store.as_ref(), access.scope(), &asked).await?;
    Ok(Spaced(Messages { messages: Entries(messages), next, status: OK }))
}
