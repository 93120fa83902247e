//! The history by page numbers, as the newer documentation has it: dates are ISO texts, an empty page is 404.

use iottly_protocol::MessageKind;

use super::Answer;
use super::dto::{MessagePage, OK, PageEntries};
use super::query::Params;
use super::spaced::Spaced;
use crate::auth::DeviceAccess;
use crate::error::ApiError;
use crate::store::PageQuery;

/// Entries of a page unless the request says otherwise, and at most.
const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: u64 = 100;
/// The last page that can be asked for; dates lead further back.
const MAX_PAGE: u64 = 10_000;

/// A page of the history by its number; an empty one is 404.
#[utoipa::path(
    get,
    path = "/device/{device}/messages/paginated",
    tag = "messages",
    params(
        ("p" = Option<i64>, Query, minimum = 1, maximum = 10000, description = "The page; 1 unless given"),
        ("l" = Option<i64>, Query, minimum = 1, maximum = 100, description = "Entries of a page; 50 unless given"),
        ("type" = Option<String>, Query, pattern = "^(all|userdefined|iottlyagent)$", description = "`all`, `userdefined` or `iottlyagent`"),
        ("from" = Option<String>, Query, description = "From this moment on: ISO 8601 or unix milliseconds"),
        ("to" = Option<String>, Query, description = "Before this moment: ISO 8601 or unix milliseconds"),
        ("sort" = Option<String>, Query, pattern = "^(desc|asc)$", description = "`desc` or `asc`"),
    ),
    responses((status = 200, description = "The answer", body = MessagePage))
)]
pub(super) async fn messages(access: DeviceAccess, params: Params) -> Answer<MessagePage> {
    let messages = access.services().store.page(access.scope(), &query(&params)?).await?;
    if messages.is_empty() {
        return Err(ApiError::missing("page has no messages"));
    }
    Ok(Spaced(MessagePage { messages: PageEntries(messages), status: OK }))
}

fn query(params: &Params) -> Result<PageQuery, ApiError> {
    let invalid = |message: &str| ApiError::invalid("invalid_query", message);
    let page = params.number("p")?.unwrap_or(1);
    let limit = params.number("l")?.unwrap_or(DEFAULT_LIMIT as u64);
    if page > MAX_PAGE {
        return Err(invalid("p is over 10000: use from and to"));
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
    Ok(PageQuery { kind, from: params.moment("from")?, until: params.moment("to")?, ascending, offset, limit })
}
