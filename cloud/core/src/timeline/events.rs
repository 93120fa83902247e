//! Events of a timeline, made of what is stored.

use iottly_protocol::MessageKind;
use iottly_protocol::release::{Ending, UpdateState};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Event, Lane, Place, Tone, Update};
use crate::model::{
    AcknowledgedSettings, Alert, AuditEntry, CommandRecord, CommandStatus, StoredMessage, UnixMs,
};
use iottly_protocol::limits::clip;

/// Maximum length of a title and of further facts, in bytes.
const TEXT_BYTES: usize = 256;

/// Entry of a history that the agent or the cloud made.
#[derive(Deserialize)]
struct AgentEntry {
    connectionstatus: Option<String>,
    gap: Option<Gap>,
    stream_reuse: Option<Value>,
    process: Option<Process>,
    protocol: Option<Protocol>,
}

#[derive(Deserialize)]
struct Gap {
    count: u64,
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
struct Protocol {
    error: String,
}

#[derive(Deserialize)]
struct Process {
    #[serde(default)]
    status: Map<String, Value>,
    #[serde(default)]
    name: String,
    #[serde(default)]
    function: String,
    #[serde(default)]
    description: String,
}

fn entry(message: &StoredMessage) -> Option<AgentEntry> {
    if message.kind != MessageKind::IottlyAgent {
        return None;
    }
    serde_json::from_str(message.payload.get()).ok()
}

/// Returns true or false if an entry says that the device came online or went offline.
#[must_use]
pub fn presence_of(message: &StoredMessage) -> Option<bool> {
    // A device's own message is no proof of its presence.
    if message.origin.is_some() {
        return None;
    }
    match entry(message)?.connectionstatus?.as_str() {
        "connected" => Some(true),
        "disconnected" => Some(false),
        _ => None,
    }
}

fn moment(at: UnixMs, lane: Lane, tone: Tone, title: impl Into<String>, place: Place) -> Event {
    Event {
        at,
        until: None,
        lasts: false,
        lane,
        tone,
        title: clip(&title.into(), TEXT_BYTES).to_owned(),
        detail: String::new(),
        author: None,
        place,
    }
}

impl Event {
    fn with(mut self, detail: &str) -> Self {
        clip(detail, TEXT_BYTES).clone_into(&mut self.detail);
        self
    }
}

/// Returns the event that an entry of a history tells; none for entries about alerts, which are events of their own, and
/// for messages of firmware.
#[must_use]
pub fn of_message(message: &StoredMessage) -> Option<Event> {
    let (at, place) = (message.timestamp, Place::Message(message.id));
    if let Some(online) = presence_of(message) {
        let title = if online { "Came online" } else { "Went offline" };
        let tone = if online { Tone::Good } else { Tone::Warn };
        return Some(moment(at, Lane::Presence, tone, title, place));
    }
    let entry = entry(message)?;
    if let Some(Gap { count, reason }) = entry.gap {
        let title = if count == 1 {
            "1 record is missing".to_owned()
        } else {
            format!("{count} records are missing")
        };
        return Some(moment(at, Lane::Gaps, Tone::Bad, title, place).with(&reason));
    }
    if entry.stream_reuse.is_some() {
        let title = "A number came with two records";
        return Some(moment(at, Lane::Gaps, Tone::Warn, title, place));
    }
    if let Some(Protocol { error }) = entry.protocol {
        let title = "The device sent what the cloud does not understand";
        return Some(moment(at, Lane::Failures, Tone::Warn, title, place).with(&error));
    }
    of_process(entry.process?, message)
}

fn of_process(process: Process, message: &StoredMessage) -> Option<Event> {
    let (at, place) = (message.timestamp, Place::Message(message.id));
    let status = |name: &str| process.status.get(name).and_then(Value::as_str);
    let code = message
        .firmware
        .map_or(String::new(), |mark| format!(" (developer's script {mark})"));
    let place_of_failure = if process.function.is_empty() {
        process.name.clone()
    } else {
        process.function.clone()
    };
    if let Some(error) = status("error") {
        let title = format!("{place_of_failure} failed: {error}{code}");
        return Some(moment(at, Lane::Failures, Tone::Bad, title, place).with(&process.description));
    }
    if let Some(warning) = status("warning") {
        let title = format!("Warning of {place_of_failure}: {warning}{code}");
        return Some(moment(at, Lane::Failures, Tone::Warn, title, place).with(&process.description));
    }
    let started = status("started")?;
    let title = format!("The firmware started{code}");
    Some(moment(at, Lane::Release, Tone::Plain, title, place).with(started))
}

/// Returns the event of a command: from its acceptance to its end.
#[must_use]
pub fn of_command(command: &CommandRecord) -> Event {
    let tone = match command.status {
        CommandStatus::Answered => Tone::Good,
        CommandStatus::Failed | CommandStatus::Expired | CommandStatus::Interrupted => Tone::Bad,
        CommandStatus::Queued | CommandStatus::Sent | CommandStatus::Delivered | CommandStatus::Cancelled => {
            Tone::Plain
        }
    };
    let title = format!("Command {}: {}", command.cmd_type, command.status.as_str());
    let is_final = command.status.is_final();
    let event = moment(
        command.created,
        Lane::Commands,
        tone,
        title,
        Place::Command(command.id),
    );
    Event {
        until: is_final.then_some(command.changed),
        lasts: !is_final,
        ..event.with(command.detail.as_deref().unwrap_or_default())
    }
}

/// Returns the event of a change of the device; none for changes that are events of their own.
#[must_use]
pub fn of_change(entry: &AuditEntry) -> Option<Event> {
    let title = match entry.action.as_str() {
        "device.config" => "Settings were changed",
        "device.rename" => "The device was renamed",
        "device.tag" => "Tags were changed",
        "device.update" => "Properties were changed",
        "deploymentgroup.move" => "The device was moved to another group",
        "device.absence" => "A planned absence was changed",
        "device.create" => "The device was added",
        "device.replace" => "A new pair code was made",
        "device.enrol" | "device.approve" => "A board was enrolled",
        "device.enrol_refused" => "A board was refused",
        "device.keep" => "One of two boards with the same keys was kept",
        other if other.starts_with("device.") => other,
        _ => return None,
    };
    let event = moment(
        entry.at,
        Lane::Settings,
        Tone::Plain,
        title,
        Place::Change(entry.number),
    );
    Some(Event {
        author: Some(entry.actor.clone()),
        ..event.with(&entry.detail)
    })
}

/// Returns the event that the device reads new settings.
#[must_use]
pub fn of_settings(taken: &AcknowledgedSettings) -> Event {
    let title = format!("The firmware reads version {} of the settings", taken.version);
    moment(taken.at, Lane::Settings, Tone::Good, title, Place::Settings)
}

/// Returns the events of an update: the decision, and the end if there is one.
#[must_use]
pub fn of_update(update: &Update) -> Vec<Event> {
    let (status, place) = (&update.status, Place::Rollout(update.group, update.rollout));
    let name = update.name();
    let ended = status.steps.iter().rev().find_map(|(state, at)| match state {
        UpdateState::Ended(ending) => Some((*ending, *at)),
        UpdateState::Underway(_) => None,
    });
    let begin = moment(
        status.sent,
        Lane::Release,
        Tone::Plain,
        format!("Sent {name}"),
        place,
    );
    let is_over = ended.is_some() || status.withdrawn;
    let state = match status.state {
        Some(state) if ended.is_none() => format!("last reported: {}", state.as_str()),
        _ => String::new(),
    };
    let mut events = vec![Event {
        until: ended.map(|(_, at)| at),
        lasts: !is_over,
        ..begin.with(&state)
    }];
    if let Some((ending, at)) = ended {
        let (tone, word) = match ending {
            Ending::Committed => (Tone::Good, "runs now"),
            Ending::Rejected => (Tone::Bad, "was rejected"),
            Ending::Failed => (Tone::Bad, "failed"),
            Ending::Cancelled => (Tone::Plain, "was cancelled"),
            Ending::RolledBack => (Tone::Bad, "was rolled back"),
        };
        let reason = status.reason.map_or("", |reason| reason.as_str());
        let detail = match &status.detail {
            Some(detail) if !detail.is_empty() => format!("{reason} {detail}"),
            _ => reason.to_owned(),
        };
        let title = format!("{} {word}", capital(&name));
        events.push(moment(at, Lane::Release, tone, title, place).with(detail.trim()));
    }
    events
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| {
        first.to_ascii_uppercase().to_string() + chars.as_str()
    })
}

/// Returns the event of an alert: from its raise to its end.
#[must_use]
pub fn of_alert(alert: &Alert) -> Event {
    let event = moment(
        alert.raised,
        Lane::Alerts,
        Tone::Bad,
        format!("Alert {}", alert.rule_name),
        Place::Alert(alert.id),
    );
    Event {
        until: alert.cleared,
        lasts: alert.cleared.is_none(),
        ..event.with(&alert.detail)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::model::{MessageId, Scope};
    use iottly_protocol::{DeviceId, ProjectId, StreamId};

    fn message(payload: &str, by_device: bool) -> StoredMessage {
        StoredMessage {
            id: MessageId([1; 12]),
            scope: Scope {
                project: ProjectId::from_bytes([0; 12]),
                device: DeviceId::from_bytes([0; 16]),
            },
            kind: MessageKind::IottlyAgent,
            timestamp: 5,
            device_timestamp: 4,
            channel: None,
            payload: RawValue::from_string(payload.to_owned()).expect("JSON"),
            origin: by_device.then(|| (StreamId::from_bytes([2; 16]), 1)),
            firmware: None,
        }
    }

    #[test]
    fn entries_of_a_history_are_events() {
        let told = |payload: &str, by_device: bool| {
            let event = of_message(&message(payload, by_device))?;
            Some((event.lane, event.tone, event.title, event.detail))
        };
        let text = |text: &str| text.to_owned();
        assert_eq!(
            told(r#"{"connectionstatus":"connected"}"#, false),
            Some((Lane::Presence, Tone::Good, text("Came online"), text("")))
        );
        assert_eq!(
            told(
                r#"{"gap":{"stream":"x","from":3,"to":9,"count":7,"reason":"budget"}}"#,
                false
            ),
            Some((
                Lane::Gaps,
                Tone::Bad,
                text("7 records are missing"),
                text("budget")
            ))
        );
        let trap = r#"{"process":{"name":"MainProcess","function":"loop","status":{"error":"out of fuel"},"description":"d"}}"#;
        assert_eq!(
            told(trap, true),
            Some((
                Lane::Failures,
                Tone::Bad,
                text("loop failed: out of fuel"),
                text("d")
            ))
        );
        for nothing in [
            r#"{"alert":{"name":"x"}}"#,
            r#"{"process":3}"#,
            "7",
            r#"{"process":{"status":{}}}"#,
        ] {
            assert_eq!(told(nothing, true), None, "{nothing}");
        }
        let mut own = message(r#"{"connectionstatus":"connected"}"#, true);
        assert_eq!(presence_of(&own), None, "a device does not say that it is online");
        own.kind = MessageKind::UserDefined;
        assert_eq!(of_message(&own), None);
    }

    #[test]
    fn long_texts_are_cut() {
        let payload = format!(r#"{{"process":{{"status":{{"error":"{}"}}}}}}"#, "é".repeat(5000));
        let event = of_message(&message(&payload, true)).expect("an event");
        assert!(event.title.len() <= TEXT_BYTES, "{}", event.title.len());
    }
}
