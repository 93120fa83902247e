//! Devices as documents for filters: their fields, and their latest values as the payload of a message.

use iottly_filter::{Document, Filter, Value};

use super::value::Kind;
use super::{Field, Language, Other, UnknownField, text};
use crate::model::{Device, UnixMs};
use crate::presence::Shown;
use crate::series::Latest;
use iottly_protocol::FirmwareState;

/// Fields of devices; other names are paths of latest values, but for those of messages.
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
    other: Other::Values,
};

/// Facts of a device that are not its own.
#[derive(Debug, Clone, Copy)]
pub struct DeviceFacts<'a> {
    /// Name of the device's group.
    pub group: &'a str,
    /// Presence of the device.
    pub presence: &'a Shown,
    /// Latest values of the device; none without any, or if the filter looks at none.
    pub latest: Option<&'a Latest>,
    /// Current time.
    pub now: UnixMs,
}

/// Fields of devices that filters may look at.
const NAMES: [&str; 13] = [
    "id", "name", "group", "tags", "presence", "offline", "silent", "mac", "agent", "firmware", "digest",
    "legacy", "root",
];

/// Field that holds the latest values, as the payload of a message would.
const PAYLOAD: &str = "payload";

/// Parses a filter over devices in JSON. Latest values are below the field `payload`: a name that is no field is refused, as
/// a mistyped one under a negation would match all devices.
///
/// # Errors
/// If the text is not a filter, or names what no device has.
pub fn filter(text: &str) -> Result<Filter, UnknownField> {
    let filter = Filter::parse(text)?;
    let heads = filter.heads();
    let unknown = heads
        .iter()
        .find(|head| !NAMES.contains(head) && **head != PAYLOAD);
    let unknown = unknown
        .copied()
        .or_else(|| filter.heads_below(PAYLOAD).contains(&"").then_some(PAYLOAD));
    if let Some(name) = unknown {
        return Err(UnknownField::Name {
            name: name.to_owned(),
            documents: "devices",
            known: format!("{}, payload.PATH", NAMES.join(", ")),
        });
    }
    Ok(filter)
}

/// Fields of devices that a filter looks at, so that the others are not copied for each of many devices.
#[derive(Debug, Clone)]
pub struct DeviceFields {
    names: Vec<&'static str>,
    /// First keys of the paths of latest values.
    values: Vec<String>,
}

impl DeviceFields {
    /// Returns the fields that a [`filter`] names.
    #[must_use]
    pub fn of(filter: &Filter) -> Self {
        let heads = filter.heads();
        let mut values: Vec<_> = filter
            .heads_below(PAYLOAD)
            .into_iter()
            .map(str::to_owned)
            .collect();
        values.sort_unstable();
        values.dedup();
        Self {
            names: NAMES.into_iter().filter(|name| heads.contains(name)).collect(),
            values,
        }
    }

    /// Returns true if the filter may look at a field.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.names.contains(&name)
    }

    /// Returns true if the filter looks at latest values.
    #[must_use]
    pub fn has_values(&self) -> bool {
        !self.values.is_empty()
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
    if let Some(latest) = facts.latest.filter(|_| fields.has_values()) {
        let keys: Vec<_> = fields.values.iter().map(String::as_str).collect();
        document.push(PAYLOAD, Value::Object(latest.payload(&keys)));
    }
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
    use iottly_filter::Budget;
    use iottly_protocol::{DeviceId, GroupId, ProjectId};
    use proptest::prelude::*;

    use super::*;
    use crate::model::Scope;
    use crate::series::Newest;

    #[test]
    fn a_field_that_no_device_has_is_refused() {
        for text in [
            r#"{"$or":[{"group":"demo"},{"tag":"attic"}]}"#,
            r#"{"payload":{"$exists":true}}"#,
            // Under a negation a mistyped name would match all devices.
            r#"{"groups":{"$ne":"demo"}}"#,
            r#"{"$nor":[{"firmwares":"running"}]}"#,
            r#"{"temp":{"$gt":30}}"#,
            r#"{"$nor":[{"payload":1}]}"#,
        ] {
            let error = filter(text).expect_err(text).to_string();
            assert!(error.contains("the fields are id, name, group, tags"), "{error}");
        }
        for example in DEVICES.suggestions("") {
            let json = DEVICES.translate(example).expect("a short form");
            filter(&json).unwrap_or_else(|error| panic!("{example}: {error}"));
        }
    }

    fn device(tags: &[&str]) -> Device {
        Device {
            scope: Scope {
                project: ProjectId::from_bytes([1; 12]),
                device: DeviceId::from_bytes([2; 16]),
            },
            group: GroupId::from_bytes([3; 16]),
            name: "cold-1".to_owned(),
            mac_address: None,
            online: false,
            online_since: Some(0),
            agent_version: None,
            firmware: None,
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            pair_code: None,
            legacy: false,
            proof: None,
            absence: None,
            root_version: None,
        }
    }

    /// Decides on a device of the group `demo` that is offline since the beginning of time, an hour and a minute ago.
    fn matches(text: &str, payload: &str) -> bool {
        let mut newest = Newest::default();
        newest.message(payload, 5);
        let latest = newest.onto(&Latest::default());
        let filter = filter(&DEVICES.translate(text).expect("a short form")).expect("a filter");
        let presence = Shown::Offline { since: Some(0) };
        let facts = DeviceFacts {
            group: "demo",
            presence: &presence,
            latest: Some(&latest),
            now: 61 * 60_000,
        };
        let document = document(&device(&["attic"]), facts, &DeviceFields::of(&filter));
        filter
            .matches(&document, &mut Budget::steps(20_000))
            .expect("decided")
    }

    #[test]
    fn fields_presence_and_latest_values_are_one_language() {
        let payload =
            r#"{"temp":31,"door":"open","on":true,"data":{"temp":9},"list":[1,7],"name":"own","offline":3}"#;
        for (text, expected) in [
            ("group:demo temp>30 offline>1h", true),
            ("group:demo temp>30 offline>2h", false),
            ("group:demo temp>31", false),
            ("-group:demo or temp>=31", true),
            ("data.temp<10 tag:attic", true),
            ("payload.temp>30", true),
            ("door:open,shut on:true", true),
            ("door:op* cold", true),
            ("door!=open", false),
            ("-door:shut", true),
            ("list:7", true),
            ("list.0:1", true),
            ("payload.name:own name:cold-1", true),
            ("payload.offline:3", true),
            // Devices without a value match no condition on it, but that it is missing.
            ("hum<5", false),
            ("-hum<5", false),
            ("hum!=5", false),
            ("-hum:1,2", false),
            ("hum:null", true),
            ("temp:null", false),
            (r#"{"payload.temp":{"$gt":30},"group":"demo"}"#, true),
            (r#"{"payload.hum":{"$not":{"$lt":5}}}"#, true),
        ] {
            assert_eq!(matches(text, payload), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_mix_of_conditions_is_what_its_parts_are(
            terms in prop::collection::vec((0_usize..6, 0_i64..4, any::<bool>()), 1..6),
            temp in 0_i64..4,
        ) {
            let payload = format!(r#"{{"temp":{temp},"deep":{{"x":{temp}}}}}"#);
            let (mut words, mut expected) = (Vec::new(), true);
            for (kind, number, negated) in terms {
                let (word, holds) = match kind {
                    0 => (format!("temp>{number}"), temp > number),
                    1 => (format!("deep.x<={number}"), temp <= number),
                    2 => (format!("payload.temp:{number}"), temp == number),
                    3 => (format!("group:demo{}", if number == 0 { "" } else { "x" }), number == 0),
                    4 => (format!("offline>{number}h"), number < 2),
                    // A value that the device does not have.
                    _ => (format!("hum>{number}"), negated),
                };
                words.push(format!("{}{word}", if negated { "-" } else { "" }));
                expected &= holds != negated;
            }
            let text = words.join(" ");
            prop_assert_eq!(matches(&text, &payload), expected, "{}", &text);
            // The JSON that is shown is a filter of its own, and the same one.
            let json = DEVICES.translate(&text).expect("a short form");
            prop_assert_eq!(matches(&json, &payload), expected, "{}", &json);
        }
    }

    #[test]
    fn only_what_a_filter_names_is_looked_at() {
        let of = |text: &str| {
            DeviceFields::of(&filter(&DEVICES.translate(text).expect("a short form")).expect("a filter"))
        };
        let fields = of("group:demo temp>30 payload.agent:1");
        assert!(fields.has("group") && !fields.has("agent") && !fields.has_presence());
        assert_eq!(fields.values, ["agent", "temp"]);
        assert!(of("silent>5m").has_presence() && !of("silent>5m").has_values());
    }
}
