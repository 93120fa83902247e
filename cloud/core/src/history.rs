//! Entries of a history as documents for filters. Pure.

use iottly_protocol::{DeviceId, FirmwareMark, MessageKind, ProjectId, StreamId};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::model::{StoredMessage, UnixMs};
use iottly_filter::{Document, Filter, FilterError, Value};

/// Fields of an entry; a filter's path that leads through none of them is looked up in the payload.
const FIELDS: [&str; 13] = [
    "_id",
    "from",
    "to",
    "timestamp",
    "devicetimestamp",
    "type",
    "payload",
    "channel",
    "stream",
    "seq",
    "device.name",
    "device.group",
    "device.tags",
];
/// Field that holds what is known of the device of an entry.
const DEVICE: &str = "device";

/// What a filter over entries may ask of the device of an entry: it is not stored with the entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sender {
    /// Name of the device.
    pub name: String,
    /// Name of the deployment group of the device.
    pub group: String,
    /// Tags of the device.
    pub tags: Vec<String>,
}

/// Parses a filter over entries.
///
/// # Errors
/// If the text is not a filter.
pub fn filter(text: &str) -> Result<Filter, FilterError> {
    Filter::parse(text).map(|filter| filter.below("payload", &FIELDS))
}

/// Returns true if a filter over entries asks for the name, group or tags of the device.
#[must_use]
pub fn asks_for_sender(filter: &Filter) -> bool {
    filter.heads().contains(&DEVICE)
}

/// Returns the entry as filters see it: the fields of the API's answer, as values, and those of its device for a filter
/// that [asks](asks_for_sender) for them. A device that does not exist any more has none.
#[must_use]
pub fn document(message: &StoredMessage, sender: Option<&Sender>) -> Document {
    let mut document = Document::new();
    document.push("_id", Value::ObjectId(message.id.0));
    document.push("from", Value::String(message.scope.device.to_string()));
    document.push("to", Value::String(message.scope.project.to_string()));
    document.push("timestamp", Value::Date(message.timestamp));
    document.push("devicetimestamp", Value::Date(message.device_timestamp));
    document.push("type", Value::String(message.kind.as_str().to_owned()));
    // Well-formed JSON without a value, such as 1e999, is returned as sent and matches as null.
    document.push(
        "payload",
        Value::parse_lenient(message.payload.get()).unwrap_or(Value::Null),
    );
    if let Some(channel) = &message.channel {
        document.push("channel", Value::String(channel.clone()));
    }
    if let Some((stream, seq)) = message.origin {
        document.push("stream", Value::String(stream.to_string()));
        document.push("seq", Value::integer(i64::try_from(seq).unwrap_or(i64::MAX)));
    }
    if let Some(sender) = sender {
        let mut device = Document::new();
        device.push("name", Value::String(sender.name.clone()));
        device.push("group", Value::String(sender.group.clone()));
        let tags = sender.tags.iter().cloned().map(Value::String);
        device.push("tags", Value::Array(tags.collect()));
        document.push(DEVICE, Value::Object(device));
    }
    document
}

/// Time in the documented form.
#[derive(Serialize)]
struct Date {
    #[serde(rename = "$date")]
    millis: UnixMs,
}

/// Id in the documented form.
#[derive(Serialize)]
struct Oid {
    #[serde(rename = "$oid")]
    id: String,
}

/// Entry in the form of the API's answer.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(rename = "_id")]
    id: Oid,
    from: DeviceId,
    to: ProjectId,
    timestamp: Date,
    devicetimestamp: Date,
    #[serde(rename = "type")]
    kind: MessageKind,
    payload: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    firmware: Option<FirmwareMark>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<StreamId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
}

/// Appends an entry to lines of JSON, in the form of the API's answer.
pub fn append_line(lines: &mut Vec<u8>, message: &StoredMessage) {
    let date = |millis| Date { millis };
    let line = Line {
        id: Oid {
            id: message.id.to_string(),
        },
        from: message.scope.device,
        to: message.scope.project,
        timestamp: date(message.timestamp),
        devicetimestamp: date(message.device_timestamp),
        kind: message.kind,
        payload: &message.payload,
        channel: message.channel.as_deref(),
        firmware: message.firmware,
        stream: message.origin.map(|(stream, _)| stream),
        seq: message.origin.map(|(_, seq)| seq),
    };
    serde_json::to_writer(&mut *lines, &line).expect("entries have string keys and memory takes all");
    lines.push(b'\n');
}

#[cfg(test)]
mod tests {
    use iottly_filter::Budget;

    use super::*;
    use crate::model::{MessageId, Scope};
    use crate::short_form::MESSAGES;

    #[test]
    fn a_filter_asks_for_the_sender_and_payloads_keep_their_fields() {
        let message = StoredMessage {
            id: MessageId([1; 12]),
            scope: Scope {
                project: ProjectId::from_bytes([1; 12]),
                device: DeviceId::from_bytes([2; 16]),
            },
            kind: MessageKind::UserDefined,
            timestamp: 0,
            device_timestamp: 0,
            channel: None,
            payload: RawValue::from_string(r#"{"temp":31,"group":"own","device":{"x":1}}"#.to_owned())
                .expect("JSON"),
            origin: None,
            firmware: None,
        };
        let sender = Sender {
            name: "cold-1".to_owned(),
            group: "demo".to_owned(),
            tags: vec!["attic".to_owned(), "new".to_owned()],
        };
        for (text, asks, matches) in [
            ("group:demo temp>30", true, true),
            ("group:own", true, false),
            ("-group:demo", true, false),
            ("tag:new name:cold-*", true, true),
            ("tag:cellar", true, false),
            ("payload.group:own", false, true),
            (r#"{"group":"own"}"#, false, true),
            (r#"{"device.x":1}"#, false, true),
            (r#"{"$or":[{"temp":1},{"device.tags":"attic"}]}"#, true, true),
            ("device:02020202-0202-0202-0202-020202020202", false, true),
        ] {
            let filter = filter(&MESSAGES.translate(text).expect("a short form")).expect("a filter");
            assert_eq!(asks_for_sender(&filter), asks, "{text}");
            let found = filter.matches(&document(&message, Some(&sender)), &mut Budget::steps(5_000));
            assert_eq!(found, Ok(matches), "{text}");
        }
        let gone = filter(r#"{"device.group":"demo"}"#).expect("a filter");
        assert_eq!(
            gone.matches(&document(&message, None), &mut Budget::steps(5_000)),
            Ok(false)
        );
    }
}
