//! Jobs: long actions over many devices that continue without the request that started them.
//!
//! A worker in each process takes the job whose turn it is, does a bounded step of it, and records the step: the next
//! step may be of another project. A process that is killed has recorded all steps but one; that one is undone with its
//! transaction, or can be repeated without effect.

mod commands;
mod export;
mod files;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::broker::Broker;
use crate::clock;
use crate::command::CommandService;
use crate::history_reader::{HistoryReader, ReadError};
use crate::holds::Holds;
use files::Files;
use iottly_core::jobs::Event;
use iottly_core::model::{Actor, JOB_KEPT_MS, Job, JobId, JobTask, Principal, UnixMs};
use iottly_protocol::{GroupId, ProjectId};
use iottly_store::webhooks::WorkerId;
use iottly_store::{ClaimedJob, JobStep, Result, Store, StoreError};

pub use files::FileError;

/// Time for which a worker has a job without recording a step, in milliseconds.
const LEASE_MS: UnixMs = 60_000;
/// Interval at which an idle worker looks for jobs that another process has accepted or left.
const IDLE: Duration = Duration::from_secs(2);
/// Pause after a failed step.
const RETRY: Duration = Duration::from_secs(2);
/// Longest pause after a step. A pause is as long as its step, so that jobs use at most half of the time for writing.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// Interval at which ended jobs and files are removed.
const TIDY: Duration = Duration::from_secs(60);
/// Maximum number of ended jobs that are deleted in one transaction.
const TIDY_STEP: usize = 100;

/// Reason for which a step was not done.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    File(#[from] FileError),
}

/// Carries jobs out, and knows their files.
pub struct Jobs {
    store: Arc<dyn Store>,
    commands: Arc<CommandService>,
    history_reader: Arc<HistoryReader>,
    broker: Arc<dyn Broker>,
    holds: Arc<Holds>,
    worker: WorkerId,
    files: Files,
    new: Notify,
}

/// Services that jobs use.
pub(crate) struct JobParts {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) commands: Arc<CommandService>,
    pub(crate) history_reader: Arc<HistoryReader>,
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) holds: Arc<Holds>,
    pub(crate) worker: WorkerId,
    /// Free bytes of the disk below which no file is written; none for the default.
    pub(crate) floor: Option<u64>,
}

impl Jobs {
    /// Creates the service with its files in the data folder.
    pub(crate) fn new(data: &Path, parts: JobParts) -> Self {
        Self {
            store: parts.store,
            commands: parts.commands,
            history_reader: parts.history_reader,
            broker: parts.broker,
            holds: parts.holds,
            worker: parts.worker,
            files: Files::new(data.join("exports"), parts.floor),
            new: Notify::new(),
        }
    }

    /// Has the worker look for a job that was just stored.
    pub fn started(&self) {
        self.new.notify_one();
    }

    /// Opens the file of an export, for reading.
    ///
    /// # Errors
    /// [`FileError::Elsewhere`] when another process wrote it, [`FileError::Io`] when it cannot be read.
    pub async fn open(&self, job: &Job) -> std::result::Result<tokio::fs::File, FileError> {
        match job.file {
            Some(file) if file.host == self.worker.0 => self.files.open(job).await,
            Some(_) => Err(FileError::Elsewhere),
            None => Err(FileError::Missing),
        }
    }

    /// Carries jobs out until aborted.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut tidied: Option<Instant> = None;
        loop {
            if tidied.is_none_or(|at| at.elapsed() >= TIDY) {
                tidied = Some(Instant::now());
                if let Err(error) = self.tidy(clock::now()).await {
                    tracing::error!(%error, "failed to remove old jobs and their files; retrying in {} s", TIDY.as_secs());
                }
            }
            let began = Instant::now();
            let pause = match self.turn().await {
                Ok(true) => began.elapsed().min(LONGEST_PAUSE),
                Ok(false) => {
                    let _ = tokio::time::timeout(IDLE, self.new.notified()).await;
                    continue;
                }
                Err(StepError::Read(error)) => {
                    tracing::debug!(%error, "an export waits for the project's turn to read");
                    RETRY
                }
                Err(error) => {
                    tracing::error!(%error, "failed to carry out a step of a job; retrying in {} s", RETRY.as_secs());
                    RETRY
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Does the next step of the job whose turn it is. Returns false if there is none.
    async fn turn(&self) -> std::result::Result<bool, StepError> {
        let now = clock::now();
        let claim = self
            .store
            .claim_job(self.worker, now, now.saturating_add(LEASE_MS))
            .await?;
        let Some(claim) = claim else { return Ok(false) };
        if let Some(reason) = self.refusal(&claim.job, now).await? {
            self.store
                .record_step(&claim, Event::Stopped(reason).into(), now)
                .await?;
            return Ok(true);
        }
        match &claim.job.task {
            JobTask::Command { .. } => self.send(&claim).await?,
            JobTask::Export { from, to } => self.export(&claim, (*from, *to)).await?,
            JobTask::Move { .. } | JobTask::Tag { .. } => {
                self.store.carry_out(&claim, now).await?;
            }
            JobTask::Delete => {
                if self.store.carry_out(&claim, now).await? {
                    self.disconnect(&claim).await;
                }
            }
        }
        Ok(true)
    }

    /// Ends the connections of devices that were deleted.
    async fn disconnect(&self, claim: &ClaimedJob) {
        for device in &claim.devices {
            self.holds.forget(*device).await;
            self.broker.disconnect(*device).await;
        }
    }

    /// Returns the reason for which a job must not continue, if there is one.
    async fn refusal(&self, job: &Job, now: UnixMs) -> Result<Option<String>> {
        if job.progress.is_overdue(now) {
            return Ok(Some("the job did not end within 20 hours".to_owned()));
        }
        Ok(match self.may_go_on(&job.by, now).await? {
            true => None,
            false => Some(format!(
                "{} no longer has the permission that the job needs",
                job.by.name
            )),
        })
    }

    /// Returns true if the one who started a job still may do what it does.
    async fn may_go_on(&self, by: &Principal, now: UnixMs) -> Result<bool> {
        Ok(match by.actor {
            Actor::Cloud => true,
            Actor::Token(id) => {
                let token = self.store.token_by_id(by.project, id).await?;
                token.is_some_and(|token| token.is_live(now) && token.scopes.contains(by.scopes))
            }
            Actor::User(id) => {
                let role = self.store.role_in(by.project, id).await?;
                role.is_some_and(|role| role.scopes().contains(by.scopes))
            }
        })
    }

    async fn tidy(&self, now: UnixMs) -> std::result::Result<(), StepError> {
        self.store
            .tidy_jobs(now.saturating_sub(JOB_KEPT_MS), TIDY_STEP)
            .await?;
        let kept = self.store.job_files(self.worker, now).await?;
        Ok(self.files.keep_only(&kept).await?)
    }
}

/// Returns true if a device is one that the requester of a job may reach.
fn is_within(by: &Principal, group: GroupId) -> bool {
    by.group.is_none_or(|own| own == group)
}

/// Returns the step that stops a job for a reason.
fn stopped(reason: impl Into<String>) -> JobStep {
    Event::Stopped(reason.into()).into()
}

/// Name of a job's file: its project's folder, and its own name.
type FileName = (ProjectId, JobId);
