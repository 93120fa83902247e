//! Devices as documents for filters.

use iottly_filter::{Document, Filter, Value};

use super::value::Kind;
use super::{Field, Language, Other, UnknownField, known_only, text};
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
        text("tags", "tags", ""),
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
        Field {
            name: "root",
            path: "root",
            kind: Kind::Any,
            example: "root<2",
        },
    ],
    word: Some("name"),
    other: Other::Refused,
};

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

/// Fields of devices that filters may look at.
const NAMES: [&str; 13] = [
    "id", "name", "group", "tags", "presence", "offline", "silent", "mac", "agent", "firmware", "digest",
    "legacy", "root",
];

/// Parses a filter over devices.
///
/// # Errors
/// If the text is not a filter, or names a field that no device has: it would match all devices or none.
pub fn filter(text: &str) -> Result<Filter, UnknownField> {
    known_only(text, "devices", &NAMES)
}

/// Fields of devices that a filter looks at, so that the others are not copied for each of many devices.
#[derive(Debug, Clone)]
pub struct DeviceFields(Vec<&'static str>);

impl DeviceFields {
    /// Returns the fields whose names occur in the text of a filter; all for a text in which names may be written with
    /// escapes.
    #[must_use]
    pub fn of(json: &str) -> Self {
        let escaped = json.contains('\\');
        let mentioned = |name: &&str| escaped || json.contains(name);
        Self(NAMES.into_iter().filter(mentioned).collect())
    }

    /// Returns true if the filter may look at a field.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.contains(&name)
    }

    /// Returns true if the filter may look at the presence or at its length.
    #[must_use]
    pub fn has_presence(&self) -> bool {
        ["presence", "offline", "silent"]
            .iter()
            .any(|name| self.has(name))
    }
}

/// Returns the fields of a device that a filter may look at.
#[must_use]
pub fn document(device: &Device, facts: DeviceFacts<'_>, fields: &DeviceFields) -> Document {
    let string = |text: &str| Value::String(text.to_owned());
    let mut document = Document::new();
    let mut push = |name, value: &dyn Fn() -> Value| {
        if fields.has(name) {
            document.push(name, value());
        }
    };
    push("id", &|| Value::String(device.scope.device.to_string()));
    push("name", &|| string(&device.name));
    push("group", &|| string(facts.group));
    push("tags", &|| {
        Value::Array(device.tags.iter().map(|tag| string(tag)).collect())
    });
    let presence = facts.presence.as_str();
    push("presence", &|| string(presence));
    // The length of time is a field of its own for each kind, so that `offline>1h` matches no other device.
    if let (Shown::Offline { .. } | Shown::Silent { .. }, Some(since)) =
        (facts.presence, facts.presence.since())
    {
        let length = facts.now.saturating_sub(since).max(0);
        push(presence, &|| Value::integer(length));
    }
    if let Some(mac) = &device.mac_address {
        push("mac", &|| string(mac));
    }
    if let Some(agent) = &device.agent_version {
        push("agent", &|| string(agent));
    }
    if let Some(report) = &device.firmware {
        push("firmware", &|| string(state(report.state)));
        push("digest", &|| string(&report.digest));
    }
    push("legacy", &|| Value::Bool(device.legacy));
    // Devices that have not reported a root trust none that is known, so that `root<2` finds them as well.
    push("root", &|| {
        Value::integer(i64::try_from(device.root_version.unwrap_or(0)).unwrap_or(i64::MAX))
    });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_no_device_has_is_refused() {
        for text in [
            r#"{"temp":{"$gt":30}}"#,
            r#"{"$or":[{"group":"demo"},{"tag":"attic"}]}"#,
        ] {
            let error = filter(text).expect_err(text).to_string();
            assert!(error.contains("the fields are id, name, group, tags"), "{error}");
        }
        for example in DEVICES.suggestions("") {
            let json = DEVICES.translate(example).expect("a short form");
            filter(&json).unwrap_or_else(|error| panic!("{example}: {error}"));
        }
    }
}
