use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::release::{DeviceFacts, Reason, UpdateState};
use crate::{CommandResult, DecodeError};

/// One numbered entry of a stream.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record<'a> {
    /// A message of the firmware or the agent; streams of class history only.
    #[serde(borrow)]
    Message(Message<'a>),
    /// What became of a command; streams of class control only.
    Result(CommandResult),
    /// State of the device's software; streams of class control only.
    Report(Report),
    /// A line of the firmware's log; streams of class control only.
    Log(LogLine),
}

impl<'a> Record<'a> {
    /// Encodes the record as it lies in the device's queue and travels in a batch.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("wire types have string keys and serialize without failing")
    }

    /// A short hash of what the record says; the same on both sides and in every build, since it is stored
    /// and travels.
    #[must_use]
    pub fn fingerprint(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        match self {
            // Not as JSON: the payload's text would be copied.
            Self::Message(message) => {
                hasher.update(message.kind.as_str().as_bytes());
                hasher.update(&message.at_ms.to_le_bytes());
                hasher.update(message.channel.as_deref().unwrap_or("\0").as_bytes());
                hasher.update(b"\0");
                hasher.update(message.payload.get().as_bytes());
            }
            Self::Result(_) | Self::Report(_) | Self::Log(_) => hasher.update(&self.encode()),
        }
        hasher.finalize()
    }

    /// Decodes one record of a batch.
    ///
    /// # Errors
    /// When the JSON has another shape.
    pub fn decode(raw: &'a RawValue) -> Result<Self, DecodeError> {
        Ok(serde_json::from_str(raw.get())?)
    }
}

/// A message that becomes one entry of the device's history.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Message<'a> {
    /// Who speaks: the firmware or the agent.
    #[serde(rename = "type")]
    pub kind: MessageKind,
    /// Device time of the message, unix milliseconds.
    pub at_ms: u64,
    /// How far `at_ms` may be off when it was found out later, milliseconds;
    /// [`UNKNOWN_ERROR_MS`](crate::limits::UNKNOWN_ERROR_MS) when nobody ever told the device the date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_error_ms: Option<u64>,
    /// Name the firmware filed the message under.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    pub channel: Option<Cow<'a, str>>,
    /// The JSON text exactly as the firmware sent it: key order is meaning.
    #[serde(borrow)]
    pub payload: &'a RawValue,
}

/// Who produced a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageKind {
    /// User code.
    UserDefined,
    /// The platform: presence, firmware life cycle, gaps.
    IottlyAgent,
}

impl MessageKind {
    /// The kind's name in the API and on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UserDefined => "userdefined",
            Self::IottlyAgent => "iottlyagent",
        }
    }
}

/// State of one part of the device's software.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// The firmware in the sandbox.
    Firmware(FirmwareReport),
    /// The settings that the firmware reads now.
    Config(ConfigReport),
    /// Where an update is.
    Update(UpdateReport),
    /// What decides on releases here: told at the agent's start and after each update.
    Facts(Box<DeviceFacts>),
}

/// Where an update is, in the words of its device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateReport {
    /// Id of the directive. For one that was refused it is only what the document claims.
    pub directive: String,
    /// sha256 of the release, hex; empty when the directive does not say.
    pub sha256: String,
    /// How far it is.
    pub state: UpdateState,
    /// Why it waits or has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// What exactly, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Device time, unix milliseconds.
    pub at_ms: u64,
}

/// Which settings a device has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigReport {
    /// Their version, see [`DeviceConfig`](crate::DeviceConfig).
    pub version: u64,
    /// Device time, unix milliseconds.
    pub at_ms: u64,
}

/// What the sandbox runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirmwareReport {
    /// Where it is in its life.
    pub state: FirmwareState,
    /// sha256 of the component, hex; empty when there is none.
    pub digest: String,
    /// Why it is not running, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Device time, unix milliseconds.
    pub at_ms: u64,
}

/// Where a firmware is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FirmwareState {
    /// `init` returned; the loop runs.
    Running,
    /// It failed and waits for its restart.
    Restarting,
    /// It failed too often and is not started again.
    Quarantined,
    /// It was stopped on purpose.
    Stopped,
}

/// One line of a firmware's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// How important it is.
    pub level: Level,
    /// The line, at most [`limits::MAX_TEXT_BYTES`](crate::limits::MAX_TEXT_BYTES).
    pub text: String,
    /// Device time, unix milliseconds.
    pub at_ms: u64,
}

/// How important a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Finest detail.
    Trace,
    /// For the author.
    Debug,
    /// Normal events.
    Info,
    /// Something unexpected that was handled.
    Warn,
    /// Something failed.
    Error,
}
