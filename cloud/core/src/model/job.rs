//! Jobs: long actions over many devices that the cloud carries out by itself.

use iottly_protocol::{DeviceId, GroupId, ProjectId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Idempotency, JobId, Principal, Scopes, UnixMs};

/// Maximum number of jobs of a project that have not ended.
pub const MAX_OPEN_JOBS: i64 = 20;
/// Number of ended jobs of a project that are kept, the newest.
pub const MAX_KEPT_JOBS: i64 = 200;
/// Time for which an ended job is kept, in milliseconds: 30 days.
pub const JOB_KEPT_MS: UnixMs = 30 * 24 * 60 * 60 * 1000;
/// Number of failures of a job that are kept with their devices and reasons; further ones are counted.
pub const MAX_JOB_FAILURES: u64 = 1000;
/// Maximum length of the reason of a failure, in bytes.
pub const MAX_JOB_REASON_BYTES: usize = 500;
/// Number of devices that are stored in a row, and that a step handles at most.
pub const JOB_PART: usize = 100;
/// Time for which the file of an export is kept, in milliseconds: a day.
pub const EXPORT_KEPT_MS: UnixMs = 24 * 60 * 60 * 1000;
/// Maximum size of all export files of a project, compressed, in bytes (512 MiB).
pub const MAX_EXPORT_BYTES: u64 = 512 << 20;

/// Action of a job on each of its devices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum JobTask {
    /// Moves the devices into a deployment group.
    Move {
        /// The group.
        group: GroupId,
    },
    /// Deletes the devices.
    Delete,
    /// Sends a command to the devices.
    Command {
        /// Type of the message definition.
        cmd_type: String,
        /// Values of the options; each key starts with the type and a dot.
        values: Map<String, Value>,
        /// Time to live in milliseconds; none for a day.
        ttl_ms: Option<i64>,
    },
    /// Adds tags to the devices and removes others.
    Tag {
        /// Tags to add.
        add: Vec<String>,
        /// Tags to remove.
        remove: Vec<String>,
    },
    /// Writes the histories of the devices into a file.
    Export {
        /// Earliest time, inclusive.
        from: Option<UnixMs>,
        /// Latest time, exclusive.
        to: Option<UnixMs>,
    },
}

impl JobTask {
    /// Names of the kinds, as the API has them.
    pub const KINDS: [&'static str; 5] = ["move", "delete", "command", "tag", "export"];

    /// Returns the name of the task's kind.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Move { .. } => "move",
            Self::Delete => "delete",
            Self::Command { .. } => "command",
            Self::Tag { .. } => "tag",
            Self::Export { .. } => "export",
        }
    }

    /// Returns the scope that a kind of job needs: that of the same action on one device.
    #[must_use]
    pub fn scope_of(kind: &str) -> Scopes {
        match kind {
            "export" => Scopes::READ,
            "command" => Scopes::COMMAND,
            _ => Scopes::WRITE,
        }
    }

    /// Returns the scope that the task needs.
    #[must_use]
    pub fn scope(&self) -> Scopes {
        Self::scope_of(self.kind())
    }

    /// Returns true if the task writes a file. Such jobs wait for each other and for no other job.
    #[must_use]
    pub const fn is_export(&self) -> bool {
        matches!(self, Self::Export { .. })
    }
}

/// A job to start.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Id of the job.
    pub id: JobId,
    /// Action on each device.
    pub task: JobTask,
    /// Devices of the job: the set does not change any more.
    pub devices: Vec<DeviceId>,
    /// Key under which a repeated request finds this job.
    pub key: Option<Idempotency>,
}

/// A job as it is stored.
#[derive(Debug, Clone)]
pub struct Job {
    /// Project of the job.
    pub project: ProjectId,
    /// Id of the job.
    pub id: JobId,
    /// Action on each device.
    pub task: JobTask,
    /// Token or person that started the job, with the address of the request; its scopes are those that the task needs.
    pub by: Principal,
    /// Time of the request.
    pub created: UnixMs,
    /// State and counts.
    pub progress: Progress,
    /// File of an export; none for other jobs.
    pub file: Option<JobFile>,
}

/// File of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobFile {
    /// Worker whose data folder has the file.
    pub host: i64,
    /// Size of the file, in bytes.
    pub bytes: u64,
    /// Number of entries in it.
    pub messages: u64,
    /// Time at which the file is removed; none while it is being written.
    pub until: Option<UnixMs>,
}

/// State of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// The job waits for its first turn.
    Queued,
    /// Some devices are done.
    Running,
    /// All devices are done, some of them may have failed.
    Finished,
    /// A person or program has ended the job.
    Cancelled,
    /// The job cannot continue.
    Failed,
}

impl JobState {
    /// All states.
    pub const ALL: [Self; 5] = [
        Self::Queued,
        Self::Running,
        Self::Finished,
        Self::Cancelled,
        Self::Failed,
    ];

    /// Returns the word of the state.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }

    /// Returns true if the job has ended.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Finished | Self::Cancelled | Self::Failed)
    }
}

/// State and counts of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// State of the job.
    pub state: JobState,
    /// Number of devices of the job.
    pub total: u64,
    /// Number of devices that are done, failed ones included.
    pub done: u64,
    /// Number of devices that failed.
    pub failed: u64,
    /// Reason for which the job has failed as a whole.
    pub reason: Option<String>,
    /// Time of the first turn.
    pub started: Option<UnixMs>,
    /// Time of the end.
    pub ended: Option<UnixMs>,
}

/// Device for which a job failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFailure {
    /// Number of the device in the job, from 0.
    pub number: u64,
    /// The device.
    pub device: DeviceId,
    /// Reason for people.
    pub reason: String,
}

/// Conditions on the jobs of a list.
#[derive(Debug, Clone, Copy, Default)]
pub struct JobFilter {
    /// True for jobs that have not ended, false for ended ones; none for both.
    pub open: Option<bool>,
    /// Deployment group that the requester was bound to; none for all jobs.
    pub group: Option<GroupId>,
    /// Creation time and id of the job before the first one.
    pub before: Option<(UnixMs, JobId)>,
}
