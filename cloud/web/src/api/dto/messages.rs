//! JSON types for histories.

use iottly_protocol::{DeviceId, MessageKind, ProjectId};
use serde::Serialize;
use serde::ser::SerializeSeq;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::MessageDto;
use iottly_core::model::StoredMessage;
use iottly_filter::date;

#[derive(Serialize, ToSchema)]
pub(crate) struct Messages {
    #[schema(value_type = Vec<MessageDto>)]
    pub(crate) messages: Entries,
    /// Cursor of the next page, if there is one: `before=<next>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
    pub(crate) status: u16,
}

pub(crate) struct Entries(pub(crate) Vec<StoredMessage>);

impl Serialize for Entries {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.0.len()))?;
        self.0
            .iter()
            .try_for_each(|message| seq.serialize_element(&MessageDto::from(message)))?;
        seq.end()
    }
}

#[derive(Serialize, ToSchema)]
pub(crate) struct MessagePage {
    #[schema(value_type = Vec<PageEntry>)]
    pub(crate) messages: PageEntries,
    pub(crate) status: u16,
}

pub(crate) struct PageEntries(pub(crate) Vec<StoredMessage>);

impl Serialize for PageEntries {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.0.len()))?;
        for message in &self.0 {
            seq.serialize_element(&PageEntry {
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

#[derive(Serialize, ToSchema)]
pub(crate) struct PageEntry<'a> {
    #[schema(value_type = String, format = "uuid")]
    pub(crate) from: DeviceId,
    #[schema(value_type = String, pattern = "^[0-9a-f]{24}$")]
    pub(crate) to: ProjectId,
    pub(crate) timestamp: String,
    pub(crate) devicetimestamp: String,
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    pub(crate) kind: MessageKind,
    #[schema(value_type = Value)]
    pub(crate) payload: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) channel: Option<&'a str>,
}
