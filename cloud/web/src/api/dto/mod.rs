//! JSON types of requests and responses, one file per family. Dates and ids are legacy extended JSON, as
//! documented.

use std::borrow::Cow;

use iottly_protocol::{
    CommandId, DeviceId, FirmwareMark, FirmwareReport, GroupId, Level, MessageKind, ProjectId, StreamId,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::spaced::Spaced;
use iottly_core::model::{
    CommandRecord, CommandStatus, Device, Group, MessageId, RolloutStatus, StoredLog, StoredMessage, UnixMs,
};
use iottly_core::presence::View;

mod alerts;
mod board;
mod code;
mod commands;
mod copies;
mod crashes;
mod definitions;
mod device_health;
mod devices;
mod drafts;
mod enrolment;
mod events;
mod filters;
mod groups;
mod jobs;
mod leases;
mod machine_login;
mod mails;
mod messages;
mod people;
mod plots;
mod portals;
mod presence;
mod projects;
mod refusals;
mod rollouts;
mod series;
mod timeline;
mod tokens;
mod waiting;
mod webhooks;

pub use alerts::*;
pub use board::*;
pub use code::*;
pub use commands::*;
pub use copies::*;
pub use crashes::*;
pub use definitions::*;
pub use device_health::*;
pub use devices::*;
pub use drafts::*;
pub use enrolment::*;
pub use events::*;
pub(crate) use filters::*;
pub use groups::*;
pub use jobs::*;
pub use leases::*;
pub use machine_login::*;
pub use mails::*;
pub use messages::*;
pub(crate) use people::*;
pub use plots::*;
pub use portals::*;
pub use presence::*;
pub use projects::*;
pub use refusals::*;
pub use rollouts::*;
pub use series::*;
pub use timeline::*;
pub use tokens::*;
pub use waiting::*;
pub use webhooks::*;

/// Status in the body of every successful response.
pub(crate) const OK: u16 = 200;

/// Result of a change without content.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Done {
    /// HTTP status: always 200.
    status: u16,
}

impl Done {
    pub(crate) fn answer() -> Spaced<Self> {
        Spaced(Self { status: OK })
    }
}

/// Time as legacy extended JSON: Unix milliseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
pub struct Date {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[serde(rename = "$date")]
    #[schema(value_type = i64)]
    pub millis: UnixMs,
}

impl Date {
    /// Returns the time.
    #[must_use]
    pub fn at(self) -> UnixMs {
        self.millis
    }
}

impl From<UnixMs> for Date {
    fn from(millis: UnixMs) -> Self {
        Self { millis }
    }
}

/// ObjectId as legacy extended JSON.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
pub struct Oid {
    /// 24 lower-case hex digits.
    #[serde(rename = "$oid", serialize_with = "as_text", deserialize_with = "of_text")]
    #[schema(value_type = String, pattern = "^[0-9a-f]{24}$")]
    pub id: MessageId,
}

fn as_text<S: serde::Serializer>(id: &MessageId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

fn of_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<MessageId, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}

/// Entry of a history.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct MessageDto<'a> {
    /// Id of the entry. Ids ascend in the order of storing.
    #[serde(rename = "_id")]
    pub id: Oid,
    /// Device of the entry.
    #[schema(value_type = String, format = "uuid")]
    pub from: DeviceId,
    /// Project of the device: 24 lower-case hex digits.
    #[schema(value_type = String, pattern = "^[0-9a-f]{24}$")]
    pub to: ProjectId,
    /// Time at which the cloud received the entry.
    pub timestamp: Date,
    /// Time at which the device made the entry, by its own clock.
    pub devicetimestamp: Date,
    /// `userdefined` for messages of the firmware, `iottlyagent` for those of the platform.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    pub kind: MessageKind,
    /// Payload as the device sent it: any JSON value.
    #[schema(value_type = Value)]
    pub payload: Cow<'a, RawValue>,
    /// Channel that the firmware chose; left out without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub channel: Option<Cow<'a, str>>,
    /// Beginning of the SHA-256 of the script that made the entry under a developer lease; left out for the committed
    /// release.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^[0-9a-f]{12}$")]
    pub firmware: Option<FirmwareMark>,
    /// Stream of the device that the entry was sent in; left out if the cloud made the entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub stream: Option<StreamId>,
    /// Number of the entry in its stream, from 1; left out if the cloud made the entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
}

impl<'a> From<&'a StoredMessage> for MessageDto<'a> {
    fn from(message: &'a StoredMessage) -> Self {
        Self {
            id: Oid { id: message.id },
            from: message.scope.device,
            to: message.scope.project,
            timestamp: message.timestamp.into(),
            devicetimestamp: message.device_timestamp.into(),
            kind: message.kind,
            payload: Cow::Borrowed(&message.payload),
            channel: message.channel.as_deref().map(Cow::Borrowed),
            firmware: message.firmware,
            stream: message.origin.map(|(stream, _)| stream),
            seq: message.origin.map(|(_, seq)| seq),
        }
    }
}

/// Returns the documented word for the connection of a device: `connected` or `disconnected`.
pub(crate) fn operating_status(online: bool) -> &'static str {
    if online { "connected" } else { "disconnected" }
}

/// Properties of a device.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Props {
    /// Id of the device.
    #[serde(rename = "ID")]
    #[schema(value_type = String, format = "uuid")]
    pub id: DeviceId,
    /// Name of the device: 1 to 128 bytes.
    pub name: String,
    /// MAC address; empty if the device has never reported one.
    pub macaddress: String,
    /// `connected` or `disconnected`.
    #[schema(value_type = String)]
    pub operatingstatus: Cow<'static, str>,
    /// Licence that the device was paired with, 32 hex digits; empty if it was not paired with one.
    pub token: String,
    /// Version of the agent, as of its last connection; empty before the first.
    pub agent_version: String,
    /// Id of the deployment group that the device is in.
    #[schema(value_type = String, format = "uuid")]
    pub deployment_group: GroupId,
    /// Tags of the device, sorted: 32 at most.
    pub tags: Vec<String>,
    /// Time of the last change of `operatingstatus`; left out before the first connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operatingstatus_since: Option<Date>,
    /// Latest report of the device's firmware runtime; left out before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub firmware: Option<FirmwareReport>,
    /// True for a device without a key, as in release 0.1: its secret does not expire. Left out for others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub legacy: bool,
    /// Presence, with the last proof of the link; more exact than `operatingstatus`.
    pub presence: PresenceDto,
    /// Last refusal of the device since it got in last; left out in lists, and if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<DeviceRefusalDto>,
    /// Latest report of the device about its queue and its sandbox; left out in lists, and before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<DeviceHealthDto>,
}

impl Props {
    pub(super) fn new(device: Device, presence: View) -> Self {
        Self {
            presence: presence.into(),
            refusal: None,
            health: None,
            id: device.scope.device,
            name: device.name,
            macaddress: device.mac_address.unwrap_or_default(),
            operatingstatus: operating_status(device.online).into(),
            // Hidden until it is used: with an unused pair code, any reader could pair a board.
            token: device.pair_code.unwrap_or_default(),
            tags: device.tags,
            agent_version: device.agent_version.unwrap_or_default(),
            deployment_group: device.group,
            operatingstatus_since: device.online_since.map(Into::into),
            firmware: device.firmware,
            legacy: device.legacy,
        }
    }
}

/// Deployment group.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct GroupDto {
    /// Id of the group.
    #[schema(value_type = String, format = "uuid")]
    pub id: GroupId,
    /// Name of the group, unique in the project; `_orphaned` is the default group.
    pub name: String,
    /// Status of the group's newest rollout; empty before the first deployment.
    #[schema(value_type = String)]
    pub status: Cow<'static, str>,
    /// Branch that the group follows; empty for none.
    pub branch: String,
    /// Revision that was deployed last; empty before the first deployment.
    pub current_revision: String,
    /// Ids of the devices in the group, sorted.
    #[schema(value_type = Vec<String>)]
    #[serde(rename = "boards")]
    pub devices: Vec<DeviceId>,
    /// Number of the devices in the group; only with `limit`.
    #[serde(rename = "boards_count", default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Always empty; the code is in the branch.
    pub fwcode: FwCode,
}

/// Code of a group; always empty, as in the documented responses.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct FwCode {
    /// Always empty.
    #[schema(value_type = Vec<Value>)]
    pub codesections: [(); 0],
    /// Always empty.
    #[schema(value_type = Vec<Value>)]
    pub snippets: [(); 0],
}

impl GroupDto {
    /// Returns the number of its devices. A cloud of release 0.1 lists all of them in place of their number.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.count.unwrap_or(self.devices.len() as u64)
    }

    /// Returns a group with some or all of its devices.
    pub(crate) fn new(group: Group, devices: Vec<DeviceId>, count: Option<u64>) -> Self {
        Self {
            id: group.id,
            name: group.name,
            status: group.status.map_or("", RolloutStatus::as_str).into(),
            branch: group.branch.unwrap_or_default(),
            current_revision: group.current_revision.unwrap_or_default(),
            devices,
            count,
            fwcode: FwCode::default(),
        }
    }
}

/// Command with its status and result, as a whole response.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CommandDto {
    /// HTTP status: always 200.
    status: u16,
    /// The command.
    #[serde(flatten)]
    command: CommandEntry,
}

impl From<CommandRecord> for CommandDto {
    fn from(record: CommandRecord) -> Self {
        Self {
            status: OK,
            command: record.into(),
        }
    }
}

/// Command with its status and result.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CommandEntry {
    /// Id of the command.
    #[schema(value_type = String, format = "uuid")]
    id: CommandId,
    /// `queued`, `sent`, `delivered`, `answered`, `failed`, `expired`, `interrupted` or `cancelled`.
    #[schema(value_type = String)]
    state: CommandStatus,
    /// Type of the message definition.
    cmd_type: String,
    /// Values that the device receives, without the prefix of the type in their keys.
    #[schema(value_type = Value)]
    values: Box<RawValue>,
    /// Reason of a failure; left out without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// Time at which the cloud accepted the command.
    created: Date,
    /// True after a request to cancel, until the command has ended; left out otherwise.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cancelling: bool,
    /// Time of the last change of `state`.
    changed: Date,
    /// Time at which the command expires.
    expires: Date,
    /// Time at which the command was first sent to the device; left out before.
    #[serde(skip_serializing_if = "Option::is_none")]
    sent: Option<Date>,
    /// Time at which the cloud learned that the device has the command; left out before.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivered: Option<Date>,
}

impl From<CommandRecord> for CommandEntry {
    fn from(record: CommandRecord) -> Self {
        Self {
            id: record.id,
            state: record.status,
            cmd_type: record.cmd_type,
            values: record.values,
            detail: record.detail,
            created: record.created.into(),
            cancelling: record.cancelling && !record.status.is_final(),
            changed: record.changed.into(),
            sent: record.sent.map(Into::into),
            delivered: record.delivered.map(Into::into),
            expires: record.expires.into(),
        }
    }
}

/// Line of a device's log.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LogDto {
    /// `trace`, `debug`, `info`, `warn` or `error`.
    #[schema(value_type = String)]
    pub level: Level,
    /// Text of the line.
    pub text: String,
    /// Time at which the device wrote the line, by its own clock.
    pub devicetimestamp: Date,
    /// Time at which the cloud received the line.
    pub timestamp: Date,
}

/// Line of a firmware log with its device.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = DeviceLogLine)]
pub struct DeviceLogDto {
    /// Id of the device.
    #[schema(value_type = String, format = "uuid")]
    pub device: DeviceId,
    /// Name of the device.
    pub name: String,
    /// The line.
    #[serde(flatten)]
    pub line: LogDto,
}

impl DeviceLogDto {
    pub(crate) fn new(device: DeviceId, name: String, line: StoredLog) -> Self {
        Self {
            device,
            name,
            line: line.into(),
        }
    }
}

/// Lines of the firmware logs of a project.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct ProjectLogs {
    /// Lines, newest first.
    pub logs: Vec<DeviceLogDto>,
    /// Cursor of the next page, if there may be more lines: `before=<next>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// HTTP status: always 200.
    pub status: u16,
}

impl From<StoredLog> for LogDto {
    fn from(log: StoredLog) -> Self {
        Self {
            level: log.level,
            text: log.text,
            devicetimestamp: log.device_timestamp.into(),
            timestamp: log.received.into(),
        }
    }
}
