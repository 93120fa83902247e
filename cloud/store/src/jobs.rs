//! Jobs: long actions over many devices. Keeps what the state machine of a job says, in the transaction of the effects.

use async_trait::async_trait;
use iottly_protocol::{DeviceId, GroupId, ProjectId};

use crate::error::Result;
use crate::webhooks::WorkerId;
use iottly_core::jobs::Event;
use iottly_core::model::{Idempotency, Job, JobFailure, JobFilter, JobId, UnixMs};

/// A job that a worker has taken, with the devices of its next step.
#[derive(Debug, Clone)]
pub struct ClaimedJob {
    /// The job as it was taken.
    pub job: Job,
    /// Worker that has taken it.
    pub worker: WorkerId,
    /// Next devices of the job, at most [`JOB_PART`](iottly_core::model::JOB_PART).
    pub devices: Vec<DeviceId>,
    /// Place in the history of the first of them, for an export.
    pub place: Option<String>,
}

/// Result of a step that the store has not carried out itself.
#[derive(Debug, Clone)]
pub struct JobStep {
    /// Kind of the event.
    pub event: Event,
    /// Devices that failed: their numbers among those of the claim, and the reasons.
    pub failures: Vec<(usize, String)>,
    /// File of an export after the step; none leaves it as it is.
    pub file: Option<JobPlace>,
}

/// Place of an export in the histories.
#[derive(Debug, Clone, Default)]
pub struct JobPlace {
    /// Place in the history of the next device.
    pub place: Option<String>,
    /// Entries in the file.
    pub messages: u64,
    /// Size of the file, in bytes.
    pub bytes: u64,
}

impl From<Event> for JobStep {
    fn from(event: Event) -> Self {
        Self {
            event,
            failures: Vec::new(),
            file: None,
        }
    }
}

/// Store operations for jobs. They are started and cancelled through [`ChangeStore`](crate::ChangeStore).
#[async_trait]
pub trait JobStore: Send + Sync + 'static {
    /// Returns jobs of a project, the newest first, at most `limit`.
    async fn jobs(&self, project: ProjectId, filter: JobFilter, limit: usize) -> Result<Vec<Job>>;
    /// Returns a job.
    async fn job(&self, project: ProjectId, id: JobId) -> Result<Option<Job>>;
    /// Returns the job that a requester started under a key, and the hash of the request.
    async fn job_of_key(&self, project: ProjectId, key: &Idempotency) -> Result<Option<(JobId, [u8; 32])>>;
    /// Returns the failures of a job in the order of its devices, at most `limit`.
    async fn job_failures(&self, project: ProjectId, id: JobId, limit: usize) -> Result<Vec<JobFailure>>;
    /// Returns the number of jobs of a project that have not ended; those of a group, if one is given.
    async fn open_jobs(&self, project: ProjectId, group: Option<GroupId>) -> Result<u64>;
    /// Takes the job whose turn it is; until `until` no other worker takes it. A project has at most one job of each lane
    /// in hand, and the project that waits for longest is next.
    async fn claim_job(&self, worker: WorkerId, now: UnixMs, until: UnixMs) -> Result<Option<ClaimedJob>>;
    /// Carries out the next devices of a job that moves, tags or deletes, and records that in the same transaction.
    /// Returns false if another worker has taken the job meanwhile, or it has ended: then nothing was done.
    async fn carry_out(&self, claim: &ClaimedJob, now: UnixMs) -> Result<bool>;
    /// Records a step. Returns false if another worker has taken the job meanwhile.
    async fn record_step(&self, claim: &ClaimedJob, step: JobStep, now: UnixMs) -> Result<bool>;
    /// Returns the size of the export files of a project, in bytes, without those that are removed at `now`.
    async fn export_bytes(&self, project: ProjectId, now: UnixMs) -> Result<u64>;
    /// Returns the jobs whose files a worker's folder has to keep.
    async fn job_files(&self, worker: WorkerId, now: UnixMs) -> Result<Vec<(ProjectId, JobId)>>;
    /// Deletes jobs that ended before `before`, at most `limit`. Returns their number.
    async fn tidy_jobs(&self, before: UnixMs, limit: usize) -> Result<u64>;
}
