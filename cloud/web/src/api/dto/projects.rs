//! JSON types for projects, their limits, the audit log, health and errors.

use iottly_protocol::ProjectId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Date, GroupDto};
use iottly_core::model::{AuditEntry, CodeRoom, Limits, Project, TokenId, Usage};

#[derive(Serialize, ToSchema)]
pub(crate) struct ProjectDto {
    #[schema(value_type = String, pattern = "^[0-9a-f]{24}$")]
    pub(crate) id: ProjectId,
    pub(crate) name: String,
    pub(crate) created: Date,
    /// Number of days for which messages are kept; null for no limit.
    pub(crate) retention_days: Option<u32>,
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

#[derive(Serialize, ToSchema)]
pub(crate) struct ProjectList {
    pub(crate) projects: Vec<ProjectDto>,
    pub(crate) status: u16,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct OneProject {
    #[serde(flatten)]
    pub(crate) project: ProjectDto,
    /// Size of the messages that are kept, in bytes; null for no limit.
    pub(crate) retention_bytes: Option<u64>,
    pub(crate) status: u16,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedProject {
    #[serde(flatten)]
    pub(crate) project: ProjectDto,
    /// Token with all scopes in the new project; shown only here.
    pub(crate) token: String,
    pub(crate) status: u16,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewProject {
    pub(crate) name: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProjectSettings {
    pub(crate) name: Option<String>,
    /// Number of days for which messages are kept; 0 for no limit.
    pub(crate) retention_days: Option<u32>,
    /// Size of the messages that are kept, in bytes: beyond it, the oldest are deleted. 0 for no limit.
    pub(crate) retention_bytes: Option<u64>,
}

/// Project as the installer reads it: both documented forms in one.
#[derive(Serialize, ToSchema)]
pub(crate) struct Inspect {
    #[schema(value_type = String, pattern = "^[0-9a-f]{24}$")]
    pub(crate) id: ProjectId,
    pub(crate) name: String,
    pub(crate) deployment_groups: Vec<GroupDto>,
    pub(crate) projectgetagenturl: String,
    pub(crate) agentfile: String,
    pub(crate) agentapihost: String,
    #[schema(value_type = String)]
    pub(crate) board: &'static str,
    pub(crate) status: u16,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct AuditLog {
    pub(crate) entries: Vec<AuditEntryDto>,
    /// Cursor of the next page, if there is one: `before=<next>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<u64>,
    pub(crate) status: u16,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct AuditEntryDto {
    pub(crate) number: u64,
    pub(crate) at: Date,
    pub(crate) actor: String,
    #[schema(value_type = String, format = "uuid")]
    pub(crate) token: TokenId,
    pub(crate) action: String,
    pub(crate) target: String,
    pub(crate) detail: String,
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
        } = entry;
        Self {
            number,
            at: at.into(),
            actor,
            token,
            action,
            target,
            detail,
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Pong {
    #[schema(value_type = String)]
    pub(crate) status: &'static str,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    #[schema(value_type = String)]
    pub(crate) status: &'static str,
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
    pub(crate) devices: u64,
    pub(crate) definitions: u64,
    /// Number of messages accepted since midnight UTC.
    pub(crate) messages_today: u64,
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

#[derive(Serialize, ToSchema)]
pub(crate) struct LimitsAndUsage {
    pub(crate) limits: Quotas,
    pub(crate) usage: UsageDto,
    pub(crate) status: u16,
}
