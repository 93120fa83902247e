//! JSON types for projects, their limits, the audit log, health and errors.

use std::borrow::Cow;
use std::net::IpAddr;

use iottly_protocol::{ProjectId, Secret};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Date, GroupDto, OK};
use iottly_core::model::{
    AuditEntry, CodeRoom, Limits, MinuteUsage, OrganizationId, Project, TokenId, Usage,
};

/// Project.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct ProjectDto {
    /// Id of the project: 24 lower-case hex digits.
    #[schema(value_type = String, pattern = "^[0-9a-f]{24}$")]
    pub id: ProjectId,
    /// Name of the project: 1 to 128 bytes.
    pub name: String,
    /// Creation time.
    pub created: Date,
    /// Number of days for which messages are kept; null for no limit.
    pub retention_days: Option<u32>,
}

impl From<Project> for ProjectDto {
    fn from(project: Project) -> Self {
        Self {
            id: project.id,
            name: project.name,
            created: project.created.into(),
            retention_days: project.retention_days,
        }
    }
}

/// Projects that the caller's token reaches.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct ProjectList {
    /// Projects.
    pub projects: Vec<ProjectDto>,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Project with its retention.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct OneProject {
    /// The project.
    #[serde(flatten)]
    pub project: ProjectDto,
    /// Size of the messages that are kept, in bytes; null for no limit.
    pub retention_bytes: Option<u64>,
    /// True if everyone may read the releases under `/repo/`; otherwise the project's devices, tokens and members may.
    pub public_releases: bool,
    /// HTTP status: always 200.
    pub status: u16,
}

/// New project with its first token.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct CreatedProject {
    /// The project.
    #[serde(flatten)]
    pub project: ProjectDto,
    /// Token with all scopes in the new project; shown only here.
    #[schema(value_type = String)]
    pub token: Secret,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Project to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewProject {
    /// Name: 1 to 128 bytes without control characters.
    pub(crate) name: String,
    /// Organisation that owns the project; the caller's first one by default, the default organisation for a token.
    #[schema(value_type = Option<String>, format = "uuid")]
    #[serde(default)]
    pub(crate) organization: Option<OrganizationId>,
}

/// Settings of a project to change.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProjectSettings {
    /// Name: 1 to 128 bytes without control characters.
    pub(crate) name: Option<String>,
    /// Number of days for which messages are kept; 0 for no limit.
    pub(crate) retention_days: Option<u32>,
    /// Size of the messages that are kept, in bytes: beyond it, the oldest are deleted. 0 for no limit.
    pub(crate) retention_bytes: Option<u64>,
    /// True to let everyone read the releases under `/repo/`, false for the project's devices, tokens and members only.
    pub(crate) public_releases: Option<bool>,
}

/// Project as the installer reads it: both documented forms in one.
#[derive(Serialize, ToSchema)]
pub(crate) struct Inspect {
    /// Id of the project: 24 lower-case hex digits.
    #[schema(value_type = String, pattern = "^[0-9a-f]{24}$")]
    pub(crate) id: ProjectId,
    /// Name of the project.
    pub(crate) name: String,
    /// Groups of the project, `_orphaned` first.
    pub(crate) deployment_groups: Vec<GroupDto>,
    /// URL from which the installer downloads the agent.
    pub(crate) projectgetagenturl: String,
    /// File name of the agent's archive.
    pub(crate) agentfile: String,
    /// Host and port of the API, as the caller addressed them.
    pub(crate) agentapihost: String,
    /// Kind of machine that the archive is for.
    #[schema(value_type = String)]
    pub(crate) board: &'static str,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}

/// Page of the audit log.
#[derive(Serialize, ToSchema)]
pub(crate) struct AuditLog {
    /// Entries, newest first.
    pub(crate) entries: Vec<AuditEntryDto>,
    /// Cursor of the next page, if there is one: `before=<next>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<u64>,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}

/// Change that was made to a project.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct AuditEntryDto {
    /// Number of the entry in the project's audit log, from 1.
    pub number: u64,
    /// Time of the change.
    pub at: Date,
    /// Name of the token that made the change, or of the part of the platform that made it by itself.
    pub actor: String,
    /// Id of this token; all zeros for changes of the platform.
    #[schema(value_type = String, format = "uuid")]
    pub token: TokenId,
    /// Kind of change, such as `device.rename`.
    pub action: String,
    /// Id or name of the changed object.
    pub target: String,
    /// Details of the change, such as the new name.
    pub detail: String,
    /// Address from which the change was requested; absent for changes of the platform itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub address: Option<IpAddr>,
}

impl From<AuditEntry> for AuditEntryDto {
    fn from(entry: AuditEntry) -> Self {
        let AuditEntry {
            number,
            at,
            actor,
            token,
            action,
            target,
            detail,
            address,
        } = entry;
        Self {
            number,
            at: at.into(),
            actor,
            token,
            action,
            target,
            detail,
            address,
        }
    }
}

/// Confirmation of a valid token.
#[derive(Serialize, ToSchema)]
pub(crate) struct Pong {
    /// Always `pong`.
    #[schema(value_type = String)]
    pub(crate) status: &'static str,
}

/// State of the cloud.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `ok` if the process runs, `ready` if it can serve requests.
    #[schema(value_type = String)]
    pub status: Cow<'static, str>,
}

/// Limits of a project; null for no limit.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Quotas {
    /// Number of devices.
    pub(crate) devices: Option<u64>,
    /// Number of message definitions.
    pub(crate) definitions: Option<u64>,
    /// Number of messages accepted per day, counted from midnight UTC.
    pub(crate) messages_per_day: Option<u64>,
    /// Size of the stored messages, in bytes.
    pub(crate) bytes: Option<u64>,
    /// Size of code, components and releases, in bytes; 268435456 (256 MiB) when it is left out or null.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code_bytes: Option<u64>,
}

impl Quotas {
    pub(crate) fn of(limits: Limits, room: CodeRoom) -> Self {
        let Limits {
            devices,
            definitions,
            messages_per_day,
            bytes,
            ..
        } = limits;
        Self {
            devices,
            definitions,
            messages_per_day,
            bytes,
            code_bytes: room.own,
        }
    }
}

/// Usage of a project.
#[derive(Serialize, ToSchema)]
pub(crate) struct UsageDto {
    /// Number of devices.
    pub(crate) devices: u64,
    /// Number of message definitions.
    pub(crate) definitions: u64,
    /// Number of messages accepted since midnight UTC.
    pub(crate) messages_today: u64,
    /// Number of stored messages.
    pub(crate) messages: u64,
    /// Size of the stored messages' payloads, in bytes.
    pub(crate) bytes: u64,
    /// Size of code, components and releases, in bytes.
    pub(crate) code_bytes: u64,
}

impl UsageDto {
    pub(crate) fn of(usage: Usage, room: CodeRoom) -> Self {
        let Usage {
            devices,
            definitions,
            messages_today,
            messages,
            bytes,
        } = usage;
        Self {
            devices,
            definitions,
            messages_today,
            messages,
            bytes,
            code_bytes: room.used(),
        }
    }
}

/// Messages of the last minutes.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Minutes)]
pub struct MinutesDto {
    /// Minutes, oldest first; the last one is not over yet.
    pub minutes: Vec<MinuteDto>,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Messages of a minute.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Minute)]
pub struct MinuteDto {
    /// Start of the minute.
    pub start: Date,
    /// Number of messages that were stored in it.
    pub messages: u64,
}

impl MinutesDto {
    pub(crate) fn of(minutes: &[MinuteUsage]) -> Self {
        let minute = |minute: &MinuteUsage| MinuteDto {
            start: minute.start.into(),
            messages: minute.messages,
        };
        Self {
            minutes: minutes.iter().map(minute).collect(),
            status: OK,
        }
    }
}

/// Limits and usage of a project.
#[derive(Serialize, ToSchema)]
pub(crate) struct LimitsAndUsage {
    /// The limits.
    pub(crate) limits: Quotas,
    /// The usage.
    pub(crate) usage: UsageDto,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}
