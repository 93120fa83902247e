//! Records: the numbered entries of a stream, from the device's queue to the cloud's store. Shapes only; a
//! record's sequence number is not part of it.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::release::{DeveloperReport, DeviceFacts, Reason, UpdateState};
use crate::{CommandResult, DecodeError};

/// Numbered entry of a stream.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record<'a> {
    /// Message of the firmware or the agent; in streams of class history only.
    #[serde(borrow)]
    Message(Message<'a>),
    /// Outcome of a command; in streams of class control only.
    Result(CommandResult),
    /// State of the device's software; in streams of class control only.
    Report(Report),
    /// Line of the firmware's log; in streams of class control only.
    Log(LogLine),
}

impl<'a> Record<'a> {
    /// Encodes the record as the device's queue stores it and a batch carries it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("wire types have string keys and serialize without failing")
    }

    /// Returns a short hash of the record's content; the same on both sides and in every build, since it is
    /// stored and sent.
    #[must_use]
    pub fn fingerprint(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        match self {
            // Not as JSON, which would copy the payload's text.
            Self::Message(message) => {
                hasher.update(message.kind.as_str().as_bytes());
                hasher.update(&message.at_ms.to_le_bytes());
                hasher.update(message.channel.as_deref().unwrap_or("\0").as_bytes());
                hasher.update(b"\0");
                hasher.update(message.payload.get().as_bytes());
            }
            // Without its mark, which one of both sides may not know.
            Self::Log(line) if line.firmware.is_some() => {
                let line = LogLine {
                    firmware: None,
                    ..line.clone()
                };
                hasher.update(&Self::Log(line).encode());
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

/// Message that becomes one entry of the device's history.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Message<'a> {
    /// Producer of the message: the firmware or the agent.
    #[serde(rename = "type")]
    pub kind: MessageKind,
    /// Device time of the message, unix milliseconds.
    pub at_ms: u64,
    /// Error of `at_ms` if the date was learned later, in milliseconds;
    /// [`UNKNOWN_ERROR_MS`](crate::limits::UNKNOWN_ERROR_MS) if the device never learned the date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_error_ms: Option<u64>,
    /// Channel that the firmware named.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    pub channel: Option<Cow<'a, str>>,
    /// Firmware that made the message, if it was not the committed release. Clouds that do not know the field
    /// ignore it; it is not part of the fingerprint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<FirmwareMark>,
    /// JSON text exactly as the firmware sent it, since the order of keys has a meaning.
    #[serde(borrow)]
    pub payload: &'a RawValue,
}

/// Producer of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageKind {
    /// User code.
    UserDefined,
    /// Agent: presence, firmware life cycle, gaps.
    IottlyAgent,
}

impl MessageKind {
    /// Returns the kind's name in the API and on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UserDefined => "userdefined",
            Self::IottlyAgent => "iottlyagent",
        }
    }
}

/// Beginning of the sha256 of a firmware: 12 lower-case hex digits. Tells the reader of a message or log line
/// which code made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FirmwareMark([u8; 12]);

impl FirmwareMark {
    /// Returns the mark of a firmware by its sha256, or the mark that a text spells: lower-case hex of at least 12
    /// digits, of which the first 12 count.
    #[must_use]
    pub fn of(sha256: &str) -> Option<Self> {
        let digits: [u8; 12] = sha256.as_bytes().get(..12)?.try_into().ok()?;
        let is_hex = digits
            .iter()
            .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        is_hex.then_some(Self(digits))
    }
}

impl fmt::Display for FirmwareMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|digit| f.write_char(char::from(*digit)))
    }
}

impl FromStr for FirmwareMark {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mark = Self::of(text).filter(|_| text.len() == 12);
        mark.ok_or("a firmware's mark is not 12 lower-case hex digits")
    }
}

crate::text_serde!(FirmwareMark);

/// State of one part of the device's software.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// Firmware in the sandbox.
    Firmware(FirmwareReport),
    /// Settings that the firmware reads now.
    Config(ConfigReport),
    /// Progress of an update.
    Update(UpdateReport),
    /// Facts that decide on releases here; sent at the agent's start and after each update.
    Facts(Box<DeviceFacts>),
    /// Answer to a developer order. Sent only to clouds that have sent one.
    Developer(Box<DeveloperReport>),
}

/// Progress of an update as its device reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateReport {
    /// Id of the directive. For a refused one it is only what the document claims.
    pub directive: String,
    /// sha256 of the release, hex; empty if the directive does not name it.
    pub sha256: String,
    /// State of the update.
    pub state: UpdateState,
    /// Reason of a wait or of the ending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Details for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Device time, unix milliseconds.
    pub at_ms: u64,
}

/// Settings that a device has stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigReport {
    /// Version of the settings, see [`DeviceConfig`](crate::DeviceConfig).
    pub version: u64,
    /// Device time, unix milliseconds.
    pub at_ms: u64,
}

/// State of the firmware in the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirmwareReport {
    /// Life-cycle state.
    pub state: FirmwareState,
    /// sha256 of the component, hex; empty if there is none.
    pub digest: String,
    /// Reason why the firmware is not running, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Device time, unix milliseconds.
    pub at_ms: u64,
}

/// Life-cycle state of a firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FirmwareState {
    /// `init` returned; the loop runs.
    Running,
    /// The firmware failed and waits for its restart.
    Restarting,
    /// The firmware failed too often and is not started again.
    Quarantined,
    /// The firmware was stopped on purpose.
    Stopped,
}

/// Line of a firmware's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Severity of the line.
    pub level: Level,
    /// Text of at most [`limits::MAX_TEXT_BYTES`](crate::limits::MAX_TEXT_BYTES).
    pub text: String,
    /// Device time, unix milliseconds.
    pub at_ms: u64,
    /// As in [`Message`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<FirmwareMark>,
}

/// Severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Finest detail.
    Trace,
    /// Details for the firmware's author.
    Debug,
    /// Normal events.
    Info,
    /// Unexpected events that were handled.
    Warn,
    /// Failures.
    Error,
}
