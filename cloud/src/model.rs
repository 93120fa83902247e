//! The things the cloud keeps, as its parts hand them to each other.

use std::fmt;
use std::str::FromStr;

use iottly_protocol::{CommandId, DeviceId, FirmwareReport, GroupId, Level, MessageKind, ProjectId, StreamId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Unix time in milliseconds. Decisions get it as an argument; only the shells read the clock.
pub type UnixMs = i64;

/// A device inside its project: every query about a device needs both, so that no tenant reaches another's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope {
    /// The owner.
    pub project: ProjectId,
    /// The device.
    pub device: DeviceId,
}

/// Id of a stored message: 12 bytes in MongoDB's ObjectId layout, increasing within a process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub [u8; 12]);

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One entry of a device's history.
#[derive(Debug, Clone)]
pub struct StoredMessage {
    /// Its id; orders messages of one millisecond.
    pub id: MessageId,
    /// Whose it is.
    pub scope: Scope,
    /// Firmware or platform.
    pub kind: MessageKind,
    /// When the cloud received it: the history's order.
    pub timestamp: UnixMs,
    /// When the device says it made it.
    pub device_timestamp: UnixMs,
    /// Name the firmware filed it under.
    pub channel: Option<String>,
    /// JSON text as the device sent it.
    pub payload: Box<RawValue>,
    /// Stream and sequence number; none for what the cloud itself wrote.
    pub origin: Option<(StreamId, u64)>,
}

/// A project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Its name, chosen by its owner.
    pub name: String,
}

/// A deployment group with its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its id.
    pub id: GroupId,
    /// Unique within the project; `_orphaned` is the default group.
    pub name: String,
    /// Branch it follows; empty for none.
    pub branch: String,
    /// One of DESIGN §6's words; empty before the first deployment.
    pub status: String,
    /// Revision deployed last; empty before the first deployment.
    pub current_revision: String,
    /// Devices in it, sorted.
    pub boards: Vec<DeviceId>,
}

/// Name of every project's default group.
pub const ORPHANED: &str = "_orphaned";

/// A device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Project and id.
    pub scope: Scope,
    /// Its name, chosen by its owner.
    pub name: String,
    /// Hardware address; empty when it never told one.
    pub mac_address: String,
    /// The group it is in.
    pub group: GroupId,
    /// Whether its connection is up.
    pub online: bool,
    /// When `online` last changed.
    pub online_since: Option<UnixMs>,
    /// Version of its agent, from its last hello.
    pub agent_version: String,
    /// What its sandbox said last.
    pub firmware: Option<FirmwareReport>,
}

/// Hash of a device's broker secret or of an API token; never the secret itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecretHash(pub [u8; 32]);

impl SecretHash {
    /// The hash of a secret of at least 128 random bits; passwords would need a slow hash.
    #[must_use]
    pub fn of(secret: &[u8]) -> Self {
        Self(*blake3::hash(secret).as_bytes())
    }

    /// Compares in constant time.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        bool::from(subtle::ConstantTimeEq::ct_eq(&self.0[..], &other.0[..]))
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

/// What an API token may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The one project the token is for.
    pub project: ProjectId,
    /// The token's name, for people.
    pub name: String,
}

/// How a command came to where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandStatus {
    /// Stored; not handed to a connection yet.
    Queued,
    /// Handed to the device's connection.
    Sent,
    /// The device journaled it.
    Delivered,
    /// The handler returned.
    Answered,
    /// The handler failed, or there is none.
    Failed,
    /// Its time to live passed.
    Expired,
    /// The device stopped while the handler ran.
    Interrupted,
    /// Withdrawn before it started.
    Cancelled,
}

/// A command and what became of it.
#[derive(Debug, Clone)]
pub struct CommandRecord {
    /// Its id.
    pub id: CommandId,
    /// For which device.
    pub scope: Scope,
    /// The message definition's type.
    pub cmd_type: String,
    /// What the device receives: the options without the type's prefix.
    pub values: Box<RawValue>,
    /// How far it came.
    pub status: CommandStatus,
    /// Reason of a failure.
    pub detail: Option<String>,
    /// When it was accepted.
    pub created: UnixMs,
    /// When it stops being worth running.
    pub expires: UnixMs,
    /// When `status` last changed.
    pub changed: UnixMs,
}

/// A command to store.
#[derive(Debug, Clone)]
pub struct NewCommand {
    /// Its id, minted by the service.
    pub id: CommandId,
    /// For which device.
    pub scope: Scope,
    /// The message definition's type.
    pub cmd_type: String,
    /// What the device receives.
    pub values: Box<RawValue>,
    /// When it was accepted.
    pub created: UnixMs,
    /// When it stops being worth running.
    pub expires: UnixMs,
}

/// A kind of message that a project's commands or events may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// Its name: the command's type.
    pub cmd_type: String,
    /// For people.
    pub description: String,
    /// Which way it goes.
    pub direction: Direction,
    /// Its options, in the order they were defined.
    pub options: Vec<DefinitionOption>,
}

/// Which way messages of a definition go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Cloud to device.
    Command,
    /// Device to cloud.
    Event,
}

/// One option of a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinitionOption {
    /// Its name, without the type's prefix.
    pub key: String,
    /// What it accepts.
    #[serde(flatten)]
    pub kind: OptionKind,
}

/// What an option of a definition accepts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum OptionKind {
    /// Sent as `value` unless the sender overrides it.
    FixedValue {
        /// The default.
        value: String,
    },
    /// One of the listed values.
    MultipleChoice {
        /// What may be chosen.
        listvalues: Vec<String>,
    },
    /// Anything but null and empty.
    FreeValue,
}

/// A line of a firmware's log as the cloud keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLog {
    /// How important it is.
    pub level: Level,
    /// The line.
    pub text: String,
    /// Device time.
    pub device_timestamp: UnixMs,
}

/// Position in a device's history, newest first: entries strictly older than it follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// Timestamp of the last entry seen.
    pub timestamp: UnixMs,
    /// Its id.
    pub id: MessageId,
}

/// Why a text is not a [`MessageId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("message id is not 24 lower-case hex digits")]
pub struct MessageIdError;

impl FromStr for MessageId {
    type Err = MessageIdError;

    fn from_str(text: &str) -> Result<Self, MessageIdError> {
        let id: ProjectId = text.parse().map_err(|_| MessageIdError)?;
        Ok(Self(*id.as_bytes()))
    }
}
