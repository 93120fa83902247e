//! The history by page numbers, as the newer documentation has it: dates are ISO texts, an empty page is 404.

use iottly_protocol::{DeviceId, MessageKind, ProjectId};
use serde::Serialize;
use serde::ser::SerializeSeq;
use serde_json::value::RawValue;

use super::Answer;
use super::dto::OK;
use super::query::Params;
use super::spaced::Spaced;
use crate::auth::DeviceAccess;
use crate::error::ApiError;
use crate::filter::date;
use crate::model::StoredMessage;
use crate::store::PageQuery;

/// Entries of a page unless the request says otherwise, and at most.
const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: u64 = 100;
/// The last page that can be asked for; dates lead further back.
const MAX_PAGE: u64 = 10_000;

#[derive(Serialize)]
pub(super) struct Page {
    messages: Entries,
    status: u16,
}

struct Entries(Vec<StoredMessage>);

#[derive(Serialize)]
struct Entry<'a> {
    from: DeviceId,
    to: ProjectId,
    timestamp: String,
    devicetimestamp: String,
    #[serde(rename = "type")]
    kind: MessageKind,
    payload: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
}

impl Serialize for Entries {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.0.len()))?;
        for message in &self.0 {
            seq.serialize_element(&Entry {
                from: message.scope.device,
                to: message.scope.project,
                timestamp: date::format(message.timestamp),
                devicetimestamp: date::format(message.device_timestamp),
                kind: message.kind,
                payload: &message.payload,
                channel: message.channel.as_deref(),
            })?;
        }
        seq.end()
    }
}

pub(super) async fn messages(access: DeviceAccess, params: Params) -> Answer<Page> {
    let messages = access.services().store.page(access.scope(), &query(&params)?).await?;
    if messages.is_empty() {
        return Err(ApiError::missing("page has no messages"));
    }
    Ok(Spaced(Page { messages: Entries(messages), status: OK }))
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
