//! Entries of a history as documents for filters. Pure.

use crate::model::StoredMessage;
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
