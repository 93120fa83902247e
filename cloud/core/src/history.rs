//! Entries of a history as documents for filters. Pure.

use iottly_protocol::{DeviceId, FirmwareMark, MessageKind, ProjectId, StreamId};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::model::{StoredMessage, UnixMs};
use iottly_filter::{Document, Filter, FilterError, Value};

/// Fields of an entry; a filter's path that starts with none of them is looked up in the payload.
const FIELDS: [&str; 10] = [
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
];

/// Parses a filter over entries.
///
/// # Errors
/// If the text is not a filter.
pub fn filter(text: &str) -> Result<Filter, FilterError> {
    Filter::parse(text).map(|filter| filter.below("payload", &FIELDS))
}

/// Returns the entry as filters see it: the fields of the API's answer, as values.
#[must_use]
pub fn document(message: &StoredMessage) -> Document {
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
