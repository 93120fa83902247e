//! The things the cloud keeps, as its parts hand them to each other.

use std::fmt;
use std::str::FromStr;

use iottly_protocol::{
    CommandId, DeviceId, FirmwareReport, GroupId, Level, MessageKind, ProjectId, StreamId,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

mod access;
mod change;
mod code;
mod code_room;
mod config;
mod definition;
mod ids;
mod limits;
mod policy;
mod rollout;
mod webhook;

pub use access::{Principal, Scopes, SecretHash, Token};
pub use change::{AuditEntry, Change, Changed};
pub use code::{
    Branch, MAIN_BRANCH, MAX_BRANCH_BYTES, MAX_BRANCHES, MAX_CODE_BYTES, MAX_MESSAGE_BYTES, MAX_SNIPPETS,
    Revision, Snippet, SnippetEdit, SnippetKind,
};
pub use code_room::{CodeRoom, MAX_PROJECT_CODE_BYTES};
pub use config::{ConfigState, TakenConfig};
pub use definition::{
    Definition, DefinitionOption, Direction, InvalidDefinition, MAX_DEFINITIONS, OptionKind, normalised,
};
pub use ids::{RolloutId, SnippetId, TokenId, WebhookId};
pub use limits::{HourUsage, Limits, Usage};
pub use policy::{Policy, PolicyError, Wave};
pub use rollout::{
    KnownFacts, NewRollout, Rollout, RolloutKind, RolloutMember, RolloutStatus, RolloutStep, Run, Status,
    Steer, StoredRelease, Telling, Told, Wish,
};
pub use webhook::{HookAttempt, HookKey, HookKind, HookQueue, HookState, Replay, Webhook};

/// Unix time in milliseconds. Decisions get it as an argument; only the shells read the clock.
pub type UnixMs = i64;

/// A device inside its project: every query about a device needs both, so that no tenant reaches another's
/// rows.
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
    /// When it was made.
    pub created: UnixMs,
    /// Days that messages are kept, by the time the cloud received them; none for ever.
    pub retention_days: Option<u32>,
}

/// Longest retention that can be set, days: a century.
pub const MAX_RETENTION_DAYS: u32 = 36_525;

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
    /// How rollouts in it spread.
    pub policy: Policy,
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
    /// Words its owner filed it under, sorted.
    pub tags: Vec<String>,
    /// The licence it was paired with; none while it is not paired, or when it came without one.
    pub licence: Option<String>,
}

/// A device's licence, which is its pair code: works once, until it expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Licence {
    /// 32 hex digits.
    pub code: String,
    /// The device it is for.
    pub device: DeviceId,
    /// When it was made.
    pub created: UnixMs,
    /// When it stops working unless it was used.
    pub expires: UnixMs,
    /// When a board used it.
    pub paired: Option<UnixMs>,
}

/// Most tags of one device.
pub const MAX_TAGS: usize = 32;

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

impl CommandStatus {
    /// Says whether nothing can follow, except the device's own word where the cloud only presumed.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Sent | Self::Delivered)
    }
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
    /// When it was first handed to a connection.
    pub sent: Option<UnixMs>,
    /// When the cloud learned that the device has it.
    pub delivered: Option<UnixMs>,
    /// Whether its sender wants it back.
    pub cancelling: bool,
}

/// What makes a repeated request to send a command the same request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// Whose key it is: keys of different tokens do not meet.
    pub token: TokenId,
    /// The sender's key.
    pub key: String,
    /// Hash of the request; the same key with another request is refused.
    pub request: [u8; 32],
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
