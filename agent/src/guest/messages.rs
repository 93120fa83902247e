//! What the agent itself says in the history: payloads `{"process": {…}}` of type `iottlyagent`.

use iottly_protocol::{Message, MessageKind, Record, limits};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::clock::utc_text;

/// The firmware's name in agent messages.
const FIRMWARE: &str = "MainProcess";
/// The agent's own name there.
const AGENT: &str = "Agent";

/// The firmware runs.
pub(super) fn firmware_started(now_ms: u64) -> Vec<u8> {
    let text = format!("loaded firmware: {}", utc_text(now_ms));
    message(json!({"name": FIRMWARE, "status": {"started": text}}), now_ms)
}

/// A part of the firmware failed.
pub(super) fn firmware_error(function: &str, error: &str, description: &str, now_ms: u64) -> Vec<u8> {
    let process = json!({
        "name": FIRMWARE,
        "function": function,
        "status": {"error": clip(error)},
        "description": clip(description),
    });
    message(process, now_ms)
}

/// What a firmware was when it ended.
pub(super) struct Life<'a> {
    /// How long it had served, milliseconds.
    pub(super) uptime_ms: u64,
    /// Restarts before.
    pub(super) restarts: u32,
    /// sha256 of the component, hex; empty when it was not loaded.
    pub(super) digest: &'a str,
}

/// The firmware was stopped and has to be started again.
pub(super) fn firmware_ended(
    function: &str,
    error: &str,
    description: &str,
    life: &Life<'_>,
    now_ms: u64,
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
    message(process, now_ms)
}

/// A part of the firmware says something that is no failure.
pub(super) fn firmware_warning(function: &str, warning: &str, description: &str, now_ms: u64) -> Vec<u8> {
    let process = json!({
        "name": FIRMWARE,
        "function": function,
        "status": {"warning": clip(warning)},
        "description": clip(description),
    });
    message(process, now_ms)
}

/// A command came for which the firmware has no handler.
pub(super) fn no_handler(cmd_type: &str, values: &RawValue, now_ms: u64) -> Vec<u8> {
    let values: Value = serde_json::from_str(values.get()).unwrap_or_default();
    let mut command = serde_json::Map::new();
    command.insert(cmd_type.to_owned(), values);
    message(
        json!({"name": FIRMWARE, "status": {"warning": "Not Found"}, "receivedcmd": command}),
        now_ms,
    )
}

/// Something about the agent that its owner should know.
pub(crate) fn agent_warning(warning: &str, description: &str, now_ms: u64) -> Vec<u8> {
    message(
        json!({"name": AGENT, "status": {"warning": clip(warning)}, "description": clip(description)}),
        now_ms,
    )
}

fn message(process: Value, now_ms: u64) -> Vec<u8> {
    let payload = serde_json::value::to_raw_value(&json!({ "process": process }))
        .expect("a value serializes without failing");
    Record::Message(Message {
        kind: MessageKind::IottlyAgent,
        at_ms: now_ms,
        at_error_ms: None,
        channel: None,
        payload: &payload,
    })
    .encode()
}

fn clip(text: &str) -> &str {
    limits::clip(text, limits::MAX_TEXT_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(record: Vec<u8>) -> String {
        String::from_utf8(record).expect("json is utf-8")
    }

    #[test]
    fn messages_have_the_documented_layout() {
        assert_eq!(
            text(firmware_started(0)),
            r#"{"message":{"type":"iottlyagent","at_ms":0,"payload":{"process":{"name":"MainProcess","status":{"started":"loaded firmware: 1970-01-01 00:00:00"}}}}}"#
        );
        let values = RawValue::from_string(r#"{"b":1,"a":"x"}"#.to_owned()).expect("json");
        assert_eq!(
            text(no_handler("blink", &values, 5)),
            r#"{"message":{"type":"iottlyagent","at_ms":5,"payload":{"process":{"name":"MainProcess","status":{"warning":"Not Found"},"receivedcmd":{"blink":{"b":1,"a":"x"}}}}}}"#
        );
        assert_eq!(
            text(firmware_error("tick", "time-budget", "stopped after 100 ms", 5)),
            r#"{"message":{"type":"iottlyagent","at_ms":5,"payload":{"process":{"name":"MainProcess","function":"tick","status":{"error":"time-budget"},"description":"stopped after 100 ms"}}}}"#
        );
    }
}
