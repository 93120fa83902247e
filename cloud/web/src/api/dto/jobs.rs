//! JSON types for jobs.

use std::borrow::Cow;

use iottly_protocol::{DeviceId, GroupId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Date;
use iottly_core::model::{Job, JobFailure, JobId, JobTask, UnixMs};

/// Job to start: its kind, its devices, and what belongs to the kind.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobBody {
    /// `move`, `delete`, `command`, `tag` or `export`.
    pub(crate) kind: String,
    /// Ids of the devices, at most 5,000; otherwise `filter`.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    pub(crate) devices: Option<Vec<DeviceId>>,
    /// Conditions on the devices, such as `group:demo offline>1h`, or a filter as JSON; an empty text means all devices.
    #[serde(default)]
    pub(crate) filter: Option<String>,
    /// Deployment group to move the devices to.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(crate) deployment_group: Option<GroupId>,
    /// Number of devices that are deleted, as a confirmation.
    #[serde(default)]
    pub(crate) confirm: Option<u64>,
    /// Type of the command.
    #[serde(default)]
    pub(crate) cmd_type: Option<String>,
    /// Values of the command's options; each key starts with `<cmd_type>.`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub(crate) values: Option<Map<String, Value>>,
    /// Time after which the commands expire, in milliseconds: 1 ms to 30 days; one day by default.
    #[serde(default)]
    pub(crate) ttl_ms: Option<i64>,
    /// Tags to add.
    #[serde(default)]
    pub(crate) add: Option<Vec<String>>,
    /// Tags to remove.
    #[serde(default)]
    pub(crate) remove: Option<Vec<String>>,
    /// Earliest time of an export, inclusive, in Unix milliseconds.
    #[serde(default)]
    pub(crate) from: Option<UnixMs>,
    /// Latest time of an export, exclusive, in Unix milliseconds.
    #[serde(default)]
    pub(crate) to: Option<UnixMs>,
}

/// Job: an action on many devices.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = Job)]
pub struct JobDto {
    /// Id of the job.
    #[schema(value_type = String, format = "uuid")]
    pub id: JobId,
    /// `move`, `delete`, `command`, `tag` or `export`.
    #[schema(value_type = String)]
    pub kind: Cow<'static, str>,
    /// Action in words.
    pub title: String,
    /// `queued`, `running`, `finished`, `cancelled` or `failed`.
    #[schema(value_type = String)]
    pub state: Cow<'static, str>,
    /// Number of devices.
    pub total: u64,
    /// Number of devices that are done, failed ones included.
    pub done: u64,
    /// Number of devices that failed.
    pub failed: u64,
    /// Reason for which the job has failed as a whole; null otherwise.
    pub reason: Option<String>,
    /// Name of the token or person that started the job.
    pub by: String,
    /// Deployment group that the devices move to; null for other kinds.
    #[schema(value_type = Option<String>, format = "uuid")]
    pub deployment_group: Option<GroupId>,
    /// Time of the request.
    pub created: Date,
    /// Time of the first step; null while the job waits.
    pub started: Option<Date>,
    /// Time of the end; null before it.
    pub ended: Option<Date>,
    /// File of an export; null for other kinds, before its end, and once it is removed.
    pub file: Option<JobFileDto>,
}

/// File of an export.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = JobFile)]
pub struct JobFileDto {
    /// Size of the file, in bytes.
    pub bytes: u64,
    /// Number of entries in it.
    pub messages: u64,
    /// Time at which the file is removed.
    pub until: Date,
}

impl JobDto {
    pub(crate) fn new(job: &Job, now: UnixMs) -> Self {
        let progress = &job.progress;
        let file = job.file.and_then(|file| {
            Some(JobFileDto {
                bytes: file.bytes,
                messages: file.messages,
                until: file.until.filter(|until| now < *until)?.into(),
            })
        });
        Self {
            id: job.id,
            kind: job.task.kind().into(),
            title: title(&job.task),
            state: progress.state.as_str().into(),
            total: progress.total,
            done: progress.done,
            failed: progress.failed,
            reason: progress.reason.clone(),
            by: job.by.name.clone(),
            deployment_group: match &job.task {
                JobTask::Move { group } => Some(*group),
                _ => None,
            },
            created: job.created.into(),
            started: progress.started.map(Into::into),
            ended: progress.ended.map(Into::into),
            file,
        }
    }
}

/// Returns a task in words.
fn title(task: &JobTask) -> String {
    match task {
        JobTask::Move { .. } => "Move devices".to_owned(),
        JobTask::Delete => "Delete devices".to_owned(),
        JobTask::Command { cmd_type, .. } => format!("Send {cmd_type}"),
        JobTask::Tag { add, remove } => {
            let part = |verb: &str, tags: &[String]| {
                (!tags.is_empty()).then(|| format!("{verb} {}", tags.join(", ")))
            };
            let parts = [part("add", add), part("remove", remove)];
            format!(
                "Tags: {}",
                parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
            )
        }
        JobTask::Export { .. } => "Export messages".to_owned(),
    }
}

/// Device for which a job failed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = JobFailure)]
pub struct JobFailureDto {
    /// The device.
    #[schema(value_type = String, format = "uuid")]
    pub device: DeviceId,
    /// Reason for people.
    pub reason: String,
}

impl From<JobFailure> for JobFailureDto {
    fn from(failure: JobFailure) -> Self {
        Self {
            device: failure.device,
            reason: failure.reason,
        }
    }
}

/// Jobs of a project.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobList {
    /// Jobs, the newest first.
    pub(crate) jobs: Vec<JobDto>,
    /// Cursor of the next page, if there is one: `before=<next>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}

/// Job with its failures.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct OneJob {
    /// The job.
    pub job: JobDto,
    /// First 1,000 devices that failed, with their reasons.
    pub failures: Vec<JobFailureDto>,
    /// HTTP status: always 200.
    pub status: u16,
}
