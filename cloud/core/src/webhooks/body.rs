//! Writes the body of a webhook request: the message as JSON, in a form field or in a JSON object. Pure.

use std::fmt::Write as _;

use iottly_protocol::{DeviceId, FirmwareMark, MessageKind, ProjectId};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::model::StoredMessage;
use iottly_filter::date;

/// Content type of a body unless the webhook's headers select JSON.
pub const FORM: &str = "application/x-www-form-urlencoded";
/// Size above which a body is marked as large in the log, in bytes; it is delivered all the same.
pub const LARGE_BYTES: usize = 20_000;

/// Encoding of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Form field `msg`, URL-encoded.
    Encoded,
    /// JSON object `{"msg": …}`.
    Json,
}

/// Fields of a message as documented; times are ISO 8601 in UTC.
#[derive(Serialize)]
struct Fields<'a> {
    timestamp: String,
    from: DeviceId,
    to: ProjectId,
    devicetimestamp: String,
    #[serde(rename = "type")]
    kind: MessageKind,
    payload: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    /// Script that made the message under a developer lease, as in the history.
    #[serde(skip_serializing_if = "Option::is_none")]
    firmware: Option<FirmwareMark>,
}

/// Returns the body that is signed and sent for a message.
#[must_use]
pub fn body(message: &StoredMessage, form: Form, payload_only: bool) -> String {
    if payload_only {
        wrap(message.payload.get(), form)
    } else {
        wrap(&fields(message), form)
    }
}

fn fields(message: &StoredMessage) -> String {
    let fields = Fields {
        timestamp: date::format(message.timestamp),
        from: message.scope.device,
        to: message.scope.project,
        devicetimestamp: date::format(message.device_timestamp),
        kind: message.kind,
        payload: &message.payload,
        channel: message.channel.as_deref(),
        firmware: message.firmware,
    };
    serde_json::to_string(&fields).expect("texts and a JSON payload serialize without failing")
}

fn wrap(json: &str, form: Form) -> String {
    match form {
        Form::Json => format!(r#"{{"msg":{json}}}"#),
        Form::Encoded => {
            let mut body = String::with_capacity(4 + json.len() * 2);
            body.push_str("msg=");
            for byte in json.bytes() {
                match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => {
                        body.push(char::from(byte))
                    }
                    b' ' => body.push('+'),
                    _ => write!(body, "%{byte:02X}").expect("a string takes all"),
                }
            }
            body
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{MessageId, Scope};

    fn message() -> StoredMessage {
        StoredMessage {
            id: MessageId([1; 12]),
            scope: Scope {
                project: "58f73b41c3cc4800078010c5".parse().expect("an id"),
                device: "a2792ce8-216f-477c-a5cc-4f7e9f407e29".parse().expect("an id"),
            },
            kind: MessageKind::IottlyAgent,
            timestamp: 1_492_597_597_019,
            device_timestamp: 1_492_597_590_000,
            channel: None,
            payload: RawValue::from_string(r#"{"connectionstatus":"connected"}"#.into()).expect("JSON"),
            origin: None,
            firmware: None,
        }
    }

    #[test]
    fn the_documented_form_byte_for_byte() {
        assert_eq!(
            body(&message(), Form::Encoded, false),
            "msg=%7B%22timestamp%22%3A%222017-04-19T10%3A26%3A37.019%22%2C%22from%22%3A%22a2792ce8-216f-477c-a5cc-4f7e9f407e29%22\
             %2C%22to%22%3A%2258f73b41c3cc4800078010c5%22%2C%22devicetimestamp%22%3A%222017-04-19T10%3A26%3A30.000%22\
             %2C%22type%22%3A%22iottlyagent%22%2C%22payload%22%3A%7B%22connectionstatus%22%3A%22connected%22%7D%7D"
        );
    }

    #[test]
    fn json_holds_the_same_message() {
        let mut message = message();
        message.channel = Some("north".into());
        assert_eq!(
            body(&message, Form::Json, false),
            r#"{"msg":{"timestamp":"2017-04-19T10:26:37.019","from":"a2792ce8-216f-477c-a5cc-4f7e9f407e29","to":"58f73b41c3cc4800078010c5","devicetimestamp":"2017-04-19T10:26:30.000","type":"iottlyagent","payload":{"connectionstatus":"connected"},"channel":"north"}}"#
        );
        assert_eq!(
            body(&message, Form::Json, true),
            r#"{"msg":{"connectionstatus":"connected"}}"#
        );
        assert_eq!(
            body(&message, Form::Encoded, true),
            "msg=%7B%22connectionstatus%22%3A%22connected%22%7D"
        );
    }

    #[test]
    fn a_script_under_a_lease_is_named() {
        let mut message = message();
        message.firmware = "0123456789ab".parse().ok();
        let text = body(&message, Form::Json, false);
        assert!(text.ends_with(r#","firmware":"0123456789ab"}}"#), "{text}");
    }

    #[test]
    fn a_payloads_own_text_is_kept() {
        let mut message = message();
        message.payload = RawValue::from_string(r#"{"a b":"ä+&=%", "n":1.50,"n":1e3}"#.into()).expect("JSON");
        assert_eq!(
            body(&message, Form::Encoded, true),
            "msg=%7B%22a+b%22%3A%22%C3%A4%2B%26%3D%25%22%2C+%22n%22%3A1.50%2C%22n%22%3A1e3%7D"
        );
    }
}
