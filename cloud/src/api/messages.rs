use serde::Serialize;
use serde::ser::SerializeSeq;

use super::dto::{MessageDto, OK};
use super::query::Params;
use super::spaced::Spaced;
use super::{Answer, Page, page};
use crate::auth::DeviceAccess;
use crate::model::StoredMessage;

/// Entries in an answer unless the request says otherwise, and at most.
const DEFAULT_MESSAGES: usize = 10;
const MAX_MESSAGES: usize = 100;

#[derive(Serialize)]
pub(super) struct Messages {
    messages: Entries,
    /// Given when there is more behind the page: `before=<next>` continues it.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    status: u16,
}

struct Entries(Vec<StoredMessage>);

impl Serialize for Entries {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.0.len()))?;
        self.0.iter().try_for_each(|message| seq.serialize_element(&MessageDto::from(message)))?;
        seq.end()
    }
}

/// The history of a device, newest first.
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
