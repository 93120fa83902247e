//! Agent messages about the firmware and the agent for the history: payloads `{"process": {…}}` of type
//! `iottlyagent`. Pure.

use iottly_protocol::{FirmwareMark, Message, MessageKind, Record, limits};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::clock::utc_text;

/// Name of the firmware in agent messages.
const FIRMWARE: &str = "MainProcess";
/// Name of the agent in agent messages.
const AGENT: &str = "Agent";

/// Time of a message, and the developer's code that it is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    /// Device time, unix milliseconds.
    pub(super) at_ms: u64,
    /// Mark of the code; none for the installed firmware.
    pub(super) firmware: Option<FirmwareMark>,
}

/// Returns the message that the firmware has started.
pub(super) fn firmware_started(stamp: Stamp) -> Vec<u8> {
    let text = format!("loaded firmware: {}", utc_text(stamp.at_ms));
    message(json!({"name": FIRMWARE, "status": {"started": text}}), stamp)
}

/// Returns the message that a call of the firmware failed and the firmware continues.
pub(super) fn firmware_error(function: &str, error: &str, description: &str, stamp: Stamp) -> Vec<u8> {
    let process = json!({
        "name": FIRMWARE,
        "function": function,
        "status": {"error": clip(error)},
        "description": clip(description),
    });
    message(process, stamp)
}

/// Facts about a firmware that has ended.
pub(super) struct Life<'a> {
    /// Time that the firmware had served, in milliseconds.
    pub(super) uptime_ms: u64,
    /// Number of earlier restarts.
    pub(super) restarts: u32,
    /// SHA-256 of the component in hex; empty if it was not loaded.
    pub(super) digest: &'a str,
}

/// Returns the message that the firmware has ended by a failure.
pub(super) fn firmware_ended(
    function: &str,
    error: &str,
    description: &str,
    life: &Life<'_>,
    stamp: Stamp,
) -> Vec<u8> {
    let process = json!({
        "name": FIRMWARE,
        "function": function,
        "status": {"error": clip(error)},
        "description": clip(description),
        "uptime_ms": life.uptime_ms,
        "restarts": life.restarts,
        "firmware": life.digest,
    });
    message(process, stamp)
}

/// Returns the message of a warning about a function of the firmware.
pub(super) fn firmware_warning(function: &str, warning: &str, description: &str, stamp: Stamp) -> Vec<u8> {
    let process = json!({
        "name": FIRMWARE,
        "function": function,
        "status": {"warning": clip(warning)},
        "description": clip(description),
    });
    message(process, stamp)
}

/// Returns the message that the firmware has no handler for a command.
pub(super) fn no_handler(cmd_type: &str, values: &RawValue, stamp: Stamp) -> Vec<u8> {
    let values: Value = serde_json::from_str(values.get()).unwrap_or_default();
    let mut command = serde_json::Map::new();
    command.insert(cmd_type.to_owned(), values);
    message(
        json!({"name": FIRMWARE, "status": {"warning": "Not Found"}, "receivedcmd": command}),
        stamp,
    )
}

/// Returns the message of a warning about the agent itself.
pub(crate) fn agent_warning(warning: &str, description: &str, now_ms: u64) -> Vec<u8> {
    let stamp = Stamp {
        at_ms: now_ms,
        firmware: None,
    };
    message(
        json!({"name": AGENT, "status": {"warning": clip(warning)}, "description": clip(description)}),
        stamp,
    )
}

fn message(process: Value, stamp: Stamp) -> Vec<u8> {
    let payload = serde_json::value::to_raw_value(&json!({ "process": process }))
        .expect("a value serializes without failing");
    Record::Message(Message {
        kind: MessageKind::IottlyAgent,
        at_ms: stamp.at_ms,
        at_error_ms: None,
        channel: None,
        payload: &payload,
        firmware: stamp.firmware,
    })
    .encode()
}

fn clip(text: &str) -> &str {
    limits::clip(text, limits::MAX_TEXT_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(at_ms: u64) -> Stamp {
        Stamp {
            at_ms,
            firmware: None,
        }
    }

    fn text(record: Vec<u8>) -> String {
        String::from_utf8(record).expect("json is utf-8")
    }

    #[test]
    fn messages_have_the_documented_layout() {
        assert_eq!(
            text(firmware_started(at(0))),
            r#"{"message":{"type":"iottlyagent","at_ms":0,"payload":{"process":{"name":"MainProcess","status":{"started":"loaded firmware: 1970-01-01 00:00:00"}}}}}"#
        );
        let values = RawValue::from_string(r#"{"b":1,"a":"x"}"#.to_owned()).expect("json");
        assert_eq!(
            text(no_handler("blink", &values, at(5))),
            r#"{"message":{"type":"iottlyagent","at_ms":5,"payload":{"process":{"name":"MainProcess","status":{"warning":"Not Found"},"receivedcmd":{"blink":{"b":1,"a":"x"}}}}}}"#
        );
        assert_eq!(
            text(firmware_error(
                "tick",
                "time-budget",
                "stopped after 100 ms",
                at(5)
            )),
            r#"{"message":{"type":"iottlyagent","at_ms":5,"payload":{"process":{"name":"MainProcess","function":"tick","status":{"error":"time-budget"},"description":"stopped after 100 ms"}}}}"#
        );
    }
}
