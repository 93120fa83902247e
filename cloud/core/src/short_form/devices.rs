//! Devices as documents for filters.

use iottly_filter::{Document, Value};

use super::value::Kind;
use super::{Field, Language};
use crate::model::{Device, UnixMs};
use crate::presence::Shown;
use iottly_protocol::FirmwareState;

/// Fields of devices.
pub static DEVICES: Language = Language {
    fields: &[
        text("name", "name", "name:cold-*"),
        text("group", "group", "group:demo"),
        text("presence", "presence", "presence:offline"),
        Field {
            name: "offline",
            path: "offline",
            kind: Kind::Duration,
            example: "offline>1h",
        },
        Field {
            name: "silent",
            path: "silent",
            kind: Kind::Duration,
            example: "silent>10m",
        },
        text("tag", "tags", "tag:attic"),
        text("firmware", "firmware", "firmware:quarantined"),
        text("digest", "digest", "digest:5d07*"),
        text("agent", "agent", "agent!=1.4.0"),
        text("mac", "mac", "mac:b8:27:*"),
        text("id", "id", "id:16825a35*"),
        Field {
            name: "legacy",
            path: "legacy",
            kind: Kind::Flag,
            example: "legacy:true",
        },
    ],
    word: Some("name"),
    open: false,
};

const fn text(name: &'static str, path: &'static str, example: &'static str) -> Field {
    Field {
        name,
        path,
        kind: Kind::Text,
        example,
    }
}

/// Facts of a device that are not its own.
#[derive(Debug, Clone, Copy)]
pub struct DeviceFacts<'a> {
    /// Name of the device's group.
    pub group: &'a str,
    /// Presence of the device.
    pub presence: &'a Shown,
    /// Current time.
    pub now: UnixMs,
}

/// Returns the device as filters see it.
#[must_use]
pub fn document(device: &Device, facts: DeviceFacts<'_>) -> Document {
    let string = |text: &str| Value::String(text.to_owned());
    let mut document = Document::new();
    document.push("id", Value::String(device.scope.device.to_string()));
    document.push("name", string(&device.name));
    document.push("group", string(facts.group));
    document.push(
        "tags",
        Value::Array(device.tags.iter().map(|tag| string(tag)).collect()),
    );
    let presence = facts.presence.as_str();
    document.push("presence", string(presence));
    // The length of time is a field of its own for each kind, so that `offline>1h` matches no other device.
    if let (Shown::Offline { .. } | Shown::Silent { .. }, Some(since)) =
        (facts.presence, facts.presence.since())
    {
        let length = facts.now.saturating_sub(since).max(0);
        document.push(presence, Value::integer(length));
    }
    if let Some(mac) = &device.mac_address {
        document.push("mac", string(mac));
    }
    if let Some(agent) = &device.agent_version {
        document.push("agent", string(agent));
    }
    if let Some(report) = &device.firmware {
        document.push("firmware", string(state(report.state)));
        document.push("digest", string(&report.digest));
    }
    document.push("legacy", Value::Bool(device.legacy));
    document
}

fn state(state: FirmwareState) -> &'static str {
    match state {
        FirmwareState::Running => "running",
        FirmwareState::Restarting => "restarting",
        FirmwareState::Quarantined => "quarantined",
        FirmwareState::Stopped => "stopped",
    }
}
