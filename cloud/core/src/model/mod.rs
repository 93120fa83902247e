//! The cloud's data model: the types that the store, the services and the web layer exchange. Performs no I/O
//! and reads no clock.

use std::fmt;
use std::str::FromStr;

use iottly_protocol::{
    CommandId, DeviceId, FirmwareMark, FirmwareReport, GroupId, Level, MessageKind, ProjectId, StreamId,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

mod access;
mod alert;
mod browser_login;
mod change;
mod code;
mod code_room;
mod copies;
mod definition;
mod device_settings;
mod draft;
mod enrolment;
mod ids;
mod job;
mod lease;
mod limits;
mod machine_login;
mod mail;
mod option_facts;
mod people;
mod policy;
mod portal;
mod presence;
mod release_root;
mod rollout;
mod sample;
mod saved_plot;
mod webhook;

pub use access::{Actor, Principal, Scopes, SecretHash, Token};
pub use alert::{
    Alert, AlertFilter, AlertRule, AlertSubject, AlertTarget, Condition, ConditionError, LONGEST_MS,
    MAX_ALERT_RULES, MAX_KEPT_ALERTS, MAX_OPEN_ALERTS, MAX_OTHER_ALERTS, NO_DEVICE, SHORTEST_MS,
};
pub use browser_login::{BROWSER_LOGINS, BROWSER_LOGINS_OF_PROJECT, BrowserLogin, LoginHolder, LoginsOf};
pub use change::{AuditEntry, Change, Changed, FollowedBranch};
pub use code::{
    Branch, BranchCode, MAIN_BRANCH, MAX_BRANCH_BYTES, MAX_BRANCHES, MAX_CODE_BYTES, MAX_FILE_NAME_BYTES,
    MAX_MESSAGE_BYTES, MAX_SNIPPETS, Revision, Snippet, SnippetEdit, SnippetKind, is_file_name,
};
pub use code_room::{CodeRoom, MAX_PROJECT_CODE_BYTES};
pub use copies::{CopyFate, DeviceCopy};
pub use definition::{
    Definition, DefinitionOption, Direction, InvalidDefinition, MAX_DEFINITIONS, OptionKind, normalised,
};
pub use device_settings::{AcknowledgedSettings, SettingsState};
pub use draft::{DRAFT_KEPT_MS, Draft, MAX_DRAFTS, MAX_PROJECT_DRAFT_BYTES};
pub use enrolment::{Approval, DeviceIdentity, EnrolmentKey, MAX_ENROLMENT_KEYS, NewEnrolmentKey};
pub use ids::{
    AlertId, AlertRuleId, EnrolmentKeyId, JobId, MachineLoginId, OrganizationId, PortalId, RolloutId,
    SavedPlotId, SnippetId, TokenId, UserId, WebhookId,
};
pub use job::{
    EXPORT_KEPT_MS, JOB_KEPT_MS, JOB_PART, Job, JobFailure, JobFile, JobFilter, JobState, JobTask,
    MAX_EXPORT_BYTES, MAX_JOB_FAILURES, MAX_JOB_REASON_BYTES, MAX_KEPT_JOBS, MAX_OPEN_JOBS, NewJob, Progress,
};
pub use lease::{Lease, LeaseDevice, LeaseEnding, LeaseOrder, MAX_OPEN_LEASES, NewLease, OutgoingOrder};
pub use limits::{HourUsage, Limits, Usage};
pub use machine_login::{MAX_MACHINE_LOGINS, MachineLogin};
pub use mail::{
    MAIL_KEPT_MS, MAX_MAILS_PER_HOUR, MAX_RECIPIENTS, Mail, MailKind, MailResult, MailState, NewMail,
};
pub use option_facts::{Bound, InvalidFacts, InvalidValue, MAX_UNIT_BYTES, OptionFacts, ValueType};
pub use people::{
    DEFAULT_ORGANIZATION, Invitation, MAX_MEMBERS, MAX_ORGANIZATIONS, Member, Membership, Organization, Role,
    User, UserName, UserNameError,
};
pub use policy::{Policy, PolicyError, Wave};
pub use portal::{MAX_PORTALS, NewPortal, PORTAL_MS, Portal};
pub use presence::{Absence, MAX_ABSENCE_MS, Packet, Proof};
pub use release_root::{NewRoot, RecordedRoot, RootAct, RootTrust};
pub use rollout::{
    DirectiveStatus, KnownFacts, NewRollout, OutgoingDirective, Rollout, RolloutCommand, RolloutIntent,
    RolloutKind, RolloutMember, RolloutProgress, RolloutStatus, RolloutStep, StoredRelease,
};
pub use sample::{InvalidSample, MAX_SAMPLE_BYTES, Proposal, propose};
pub use saved_plot::{MAX_SAVED_PLOTS, PlotSettings, SavedPlot};
pub use webhook::{Replay, Webhook, WebhookAttempt, WebhookKey, WebhookKind, WebhookQueue, WebhookState};

/// Unix time in milliseconds. Decisions take it as an argument; only the services read the clock.
pub type UnixMs = i64;

/// A device inside its project. Every query about a device takes both ids, so that no tenant reaches another
/// tenant's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope {
    /// Project that owns the device.
    pub project: ProjectId,
    /// Device id.
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

/// An entry of a device's history.
#[derive(Debug, Clone)]
pub struct StoredMessage {
    /// Message id; orders messages of the same millisecond.
    pub id: MessageId,
    /// Project and device.
    pub scope: Scope,
    /// Origin of the message: firmware or platform.
    pub kind: MessageKind,
    /// Time at which the cloud received the message; orders the history.
    pub timestamp: UnixMs,
    /// Time at which the device made the message, by the device's clock.
    pub device_timestamp: UnixMs,
    /// Channel that the firmware chose.
    pub channel: Option<String>,
    /// JSON text as the device sent it.
    pub payload: Box<RawValue>,
    /// Stream and sequence number; none for what the cloud itself wrote.
    pub origin: Option<(StreamId, u64)>,
    /// Script that made the message under a developer lease; none for the committed release and for the cloud.
    pub firmware: Option<FirmwareMark>,
}

/// A project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Project id.
    pub id: ProjectId,
    /// Name, chosen by the owner.
    pub name: String,
    /// Creation time.
    pub created: UnixMs,
    /// Retention of messages in days, counted from the time the cloud received them; none keeps them forever.
    pub retention_days: Option<u32>,
}

/// Maximum retention that can be set, in days: a century.
pub const MAX_RETENTION_DAYS: u32 = 36_525;

/// A deployment group. Its devices may be many, so they are listed in pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Group id.
    pub id: GroupId,
    /// Unique within the project; `_orphaned` is the default group.
    pub name: String,
    /// Branch that the group follows.
    pub branch: Option<String>,
    /// Status of the group's rollout; none before the first deployment.
    pub status: Option<RolloutStatus>,
    /// Revision deployed last; none before the first deployment.
    pub current_revision: Option<String>,
    /// Rollout policy of the group.
    pub policy: Policy,
}

/// Name of every project's default group.
pub const ORPHANED: &str = "_orphaned";

/// A device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Project and id.
    pub scope: Scope,
    /// Name, chosen by the owner.
    pub name: String,
    /// Hardware address; none when the device never reported one.
    pub mac_address: Option<String>,
    /// Group of the device.
    pub group: GroupId,
    /// True while the device is connected.
    pub online: bool,
    /// Time of the last change of `online`.
    pub online_since: Option<UnixMs>,
    /// Agent version, from the last hello; none before the first.
    pub agent_version: Option<String>,
    /// Last report of the device's sandbox.
    pub firmware: Option<FirmwareReport>,
    /// Tags, chosen by the owner, sorted.
    pub tags: Vec<String>,
    /// Pair code that the device was paired with; none while it is not paired, or when it was added without
    /// one.
    pub pair_code: Option<String>,
    /// True if the device has no key and logs in with a secret that does not expire, as those of release 0.1 do.
    pub legacy: bool,
    /// Last packet of the device, as of its last connection or the end of it.
    pub proof: Option<Proof>,
    /// Planned absence.
    pub absence: Option<Absence>,
    /// Version of the root of releases that the device trusts, as it has reported; none before its first report.
    pub root_version: Option<u64>,
}

/// Pair code of a device: works once, until it expires. The API calls it a licence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairCode {
    /// Code: 32 hex digits.
    pub code: String,
    /// Device that the code pairs.
    pub device: DeviceId,
    /// Creation time.
    pub created: UnixMs,
    /// Expiry of an unused code.
    pub expires: UnixMs,
    /// Time at which a board used the code.
    pub paired: Option<UnixMs>,
}

/// Maximum number of tags of a device.
pub const MAX_TAGS: usize = 32;

/// Status of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandStatus {
    /// Stored; not sent to a connection yet.
    Queued,
    /// Sent to the device's connection.
    Sent,
    /// Stored in the device's journal.
    Delivered,
    /// The handler returned.
    Answered,
    /// The handler failed, or there is none.
    Failed,
    /// The time to live passed.
    Expired,
    /// The device stopped while the handler ran.
    Interrupted,
    /// Withdrawn before it started.
    Cancelled,
}

impl CommandStatus {
    /// Returns the name of the status, as in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Interrupted => "interrupted",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns true if no other status can follow. A report of the device still replaces a status that the
    /// cloud only presumed.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Sent | Self::Delivered)
    }
}

/// A command and its progress.
#[derive(Debug, Clone)]
pub struct CommandRecord {
    /// Command id.
    pub id: CommandId,
    /// Project and device.
    pub scope: Scope,
    /// The message definition's type.
    pub cmd_type: String,
    /// Body that the device receives: the options without the type's prefix.
    pub values: Box<RawValue>,
    /// Status of the command.
    pub status: CommandStatus,
    /// Reason of a failure.
    pub detail: Option<String>,
    /// Time at which the cloud accepted the command.
    pub created: UnixMs,
    /// Time at which the command expires.
    pub expires: UnixMs,
    /// Time of the last change of `status`.
    pub changed: UnixMs,
    /// Time at which the command was first sent to a connection.
    pub sent: Option<UnixMs>,
    /// Time at which the cloud learned that the device has the command.
    pub delivered: Option<UnixMs>,
    /// True after its sender asked to cancel the command.
    pub cancelling: bool,
}

/// Idempotency key of a request to send a command, with what makes a repetition the same request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// Token or user of the caller; equal keys of different callers are unrelated.
    pub actor: Actor,
    /// Key, chosen by the caller.
    pub key: String,
    /// Hash of the request; the same key with another request is refused.
    pub request: [u8; 32],
}

/// A command to store.
#[derive(Debug, Clone)]
pub struct NewCommand {
    /// Command id, generated by the service.
    pub id: CommandId,
    /// Project and device.
    pub scope: Scope,
    /// The message definition's type.
    pub cmd_type: String,
    /// Body that the device receives.
    pub values: Box<RawValue>,
    /// Time at which the cloud accepted the command.
    pub created: UnixMs,
    /// Time at which the command expires.
    pub expires: UnixMs,
}

/// A stored line of a firmware's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLog {
    /// Log level.
    pub level: Level,
    /// Text of the line.
    pub text: String,
    /// Time at which the device wrote the line, by the device's clock.
    pub device_timestamp: UnixMs,
    /// Time at which the cloud received the line.
    pub received: UnixMs,
    /// Number of the line among those of the device, which grows.
    pub number: i64,
}

/// Position in a device's history, newest first; strictly older entries follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// Timestamp of the last entry seen.
    pub timestamp: UnixMs,
    /// Id of the last entry seen.
    pub id: MessageId,
}

/// Error of parsing a [`MessageId`].
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
