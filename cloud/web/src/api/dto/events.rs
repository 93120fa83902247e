//! JSON types of the events of a stream.

use std::borrow::Cow;

use iottly_protocol::{DeviceId, FirmwareMark, Level, MessageKind};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{as_text, of_text};
use iottly_core::model::{MessageId, UnixMs};

/// Message of a device.
#[derive(Debug, Serialize, Deserialize)]
pub struct MessageEvent<'a> {
    /// Id of the entry of the history.
    #[serde(serialize_with = "as_text", deserialize_with = "of_text")]
    pub id: MessageId,
    /// Device of the message.
    pub device: DeviceId,
    /// Time at which the cloud received it.
    pub at: UnixMs,
    /// Script that made it under a developer lease; null for the committed release.
    pub firmware: Option<FirmwareMark>,
    /// Producer: firmware or platform.
    #[serde(rename = "type")]
    pub kind: MessageKind,
    /// Channel that the firmware chose; null without one.
    pub channel: Option<Cow<'a, str>>,
    /// Payload as the device sent it.
    pub payload: Cow<'a, RawValue>,
}

/// Line of a device's log.
#[derive(Debug, Serialize, Deserialize)]
pub struct LogEvent<'a> {
    /// Device of the line.
    pub device: DeviceId,
    /// Time at which the cloud received it.
    pub at: UnixMs,
    /// Script that wrote it under a developer lease; null for the committed release.
    pub firmware: Option<FirmwareMark>,
    /// Severity.
    pub level: Level,
    /// Text of the line.
    pub text: Cow<'a, str>,
}

/// Number of events that were skipped because the caller was too slow.
#[derive(Debug, Serialize, Deserialize)]
pub struct LaggedEvent {
    /// The number.
    pub count: u64,
}

/// Message of which a filter could not decide within its steps whether it matches.
#[derive(Debug, Serialize, Deserialize)]
pub struct UndecidedEvent {
    /// Device of the message.
    pub device: DeviceId,
    /// Time at which the cloud received it.
    pub at: UnixMs,
}
