//! JSON types for histories.

use iottly_protocol::{DeviceId, FirmwareMark, MessageKind, ProjectId};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::MessageDto;
use iottly_core::model::StoredMessage;
use iottly_filter::date;

/// Page of a history.
#[derive(Serialize, ToSchema)]
pub(crate) struct Messages {
    /// Entries, newest first.
    #[schema(value_type = Vec<MessageDto>)]
    pub(crate) messages: Entries,
    /// Cursor of the next page, if there is one: `before=<next>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}

/// Page of a history as a program reads it: what `Messages` writes from stored entries.
#[derive(Debug, Deserialize)]
pub struct HistoryPage {
    /// Entries, newest first.
    pub messages: Vec<MessageDto<'static>>,
    /// Cursor of the next page, if there is one.
    pub next: Option<String>,
}

/// Entries of a history, in the documented form.
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

/// Page of a history, selected by its number.
#[derive(Serialize, ToSchema)]
pub(crate) struct MessagePage {
    /// Entries of the page.
    #[schema(value_type = Vec<PageEntry>)]
    pub(crate) messages: PageEntries,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}

/// Entries of a history, in the form of pages by number.
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
                firmware: message.firmware,
            })?;
        }
        seq.end()
    }
}

/// Entry of a history, with its times as text.
#[derive(Serialize, ToSchema)]
pub(crate) struct PageEntry<'a> {
    /// Device of the entry.
    #[schema(value_type = String, format = "uuid")]
    pub(crate) from: DeviceId,
    /// Project of the device: 24 lower-case hex digits.
    #[schema(value_type = String, pattern = "^[0-9a-f]{24}$")]
    pub(crate) to: ProjectId,
    /// Time at which the cloud received the entry: ISO 8601 in UTC.
    pub(crate) timestamp: String,
    /// Time at which the device made the entry, by its own clock: ISO 8601 in UTC.
    pub(crate) devicetimestamp: String,
    /// `userdefined` for messages of the firmware, `iottlyagent` for those of the platform.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    pub(crate) kind: MessageKind,
    /// Payload as the device sent it: any JSON value.
    #[schema(value_type = Value)]
    pub(crate) payload: &'a RawValue,
    /// Channel that the firmware chose; left out without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) channel: Option<&'a str>,
    /// Beginning of the SHA-256 of the script that made the entry under a developer lease; left out for the committed
    /// release.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^[0-9a-f]{12}$")]
    pub(crate) firmware: Option<FirmwareMark>,
}
