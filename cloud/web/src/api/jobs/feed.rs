//! Events of one job: its state and counts whenever they have changed.
//!
//! The job may be carried out by another process, so the store is asked.

use std::collections::{HashSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use iottly_cloud::clock;
use iottly_cloud::live::{LiveStream, Watch};
use iottly_core::jobs::Progress;
use iottly_core::model::{Job, JobFilter, JobId, NO_DEVICE};
use iottly_protocol::ProjectId;
use iottly_store::Store;
use tokio::time::Instant;

use crate::api::dto::JobDto;
use crate::api::event_feed;
use crate::app::{App, until_true};
use crate::auth::ProjectAccess;
use crate::error::ApiError;

/// Interval of looks at the job.
const LOOK: Duration = Duration::from_millis(500);
/// Number of the newest jobs among which a look finds those that have started.
const NEWEST: usize = 20;
/// Maximum number of jobs that are followed.
const MAX_FOLLOWED: usize = 100;
/// Interval of the keep-alive comments on an idle stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Follows jobs.
pub(crate) struct Follower {
    store: Arc<dyn Store>,
    project: ProjectId,
    /// The jobs that have not ended, with what was seen of them.
    jobs: Vec<(JobId, Option<Progress>)>,
    /// Number of the job to look at next.
    next: usize,
    /// The newest jobs that were seen to have ended, if jobs that start later are followed too.
    ended: Option<HashSet<JobId>>,
    /// Jobs that have started since the last look, oldest first.
    started: VecDeque<JobDto>,
    /// Time of the next look; kept here, so that a wait that is dropped resumes where it was.
    look: Instant,
}

impl Follower {
    pub(crate) fn new(store: Arc<dyn Store>, project: ProjectId, jobs: Vec<JobId>) -> Self {
        Self {
            store,
            project,
            jobs: jobs.into_iter().map(|id| (id, None)).collect(),
            next: usize::MAX,
            ended: None,
            started: VecDeque::new(),
            look: Instant::now(),
        }
    }

    /// Follows the jobs that start later as well.
    pub(crate) fn with_later(self) -> Self {
        Self {
            ended: Some(HashSet::new()),
            ..self
        }
    }

    /// Waits until a job has changed or started, and returns it; none once all have ended and no others are followed.
    pub(crate) async fn next(&mut self) -> Option<JobDto> {
        loop {
            if let Some(job) = self.started.pop_front() {
                return Some(job);
            }
            if self.next >= self.jobs.len() {
                if self.jobs.is_empty() && self.ended.is_none() {
                    return None;
                }
                tokio::time::sleep_until(self.look).await;
                self.find().await;
                (self.next, self.look) = (0, Instant::now() + LOOK);
                continue;
            }
            let (id, seen) = &self.jobs[self.next];
            match self.store.job(self.project, *id).await {
                Ok(None) => {
                    self.jobs.remove(self.next);
                }
                Ok(Some(job)) if seen.as_ref() == Some(&job.progress) => self.next += 1,
                Ok(Some(job)) => {
                    if job.progress.state.is_final() {
                        self.jobs.remove(self.next);
                        if let Some(ended) = &mut self.ended {
                            ended.insert(job.id);
                        }
                    } else {
                        self.jobs[self.next].1 = Some(job.progress.clone());
                        self.next += 1;
                    }
                    return Some(JobDto::new(&job, clock::now()));
                }
                Err(error) => {
                    tracing::debug!(%error, "failed to look at a job; retrying in {} ms", LOOK.as_millis());
                    self.next = self.jobs.len();
                }
            }
        }
    }
}

impl Follower {
    /// Looks for jobs that have started, if they are followed.
    async fn find(&mut self) {
        let Some(ended) = &mut self.ended else { return };
        let newest = match self.store.jobs(self.project, JobFilter::default(), NEWEST).await {
            Ok(newest) => newest,
            Err(error) => {
                tracing::debug!(%error, "failed to look for new jobs; retrying in {} ms", LOOK.as_millis());
                return;
            }
        };
        ended.retain(|id| newest.iter().any(|job| job.id == *id));
        for job in newest.iter().rev() {
            let is_known = ended.contains(&job.id) || self.jobs.iter().any(|(id, _)| *id == job.id);
            if is_known || self.jobs.len() >= MAX_FOLLOWED {
                continue;
            }
            if job.progress.state.is_final() {
                ended.insert(job.id);
            } else {
                self.jobs.push((job.id, Some(job.progress.clone())));
            }
            self.started.push_back(JobDto::new(job, clock::now()));
        }
    }
}

/// Returns the event of a job.
pub(crate) fn event(job: &JobDto) -> Event {
    let data = serde_json::to_string(job).expect("a job has string keys and serializes without failing");
    Event::default().event("job").data(data)
}

/// Returns the response that sends a job until it has ended, or its reader may not read it any more.
pub(super) fn response(access: ProjectAccess, app: App, job: Job) -> Result<Response, ApiError> {
    let (store, project) = (Arc::clone(&access.services().store), access.id());
    // Takes one of the places of the project's event streams; nothing is stored under this id that a job's reader needs.
    let what = Watch {
        project,
        device: Some(NO_DEVICE),
    };
    let place = access.services().live.watch(what).map_err(event_feed::refused)?;
    let follower = Follower::new(store, project, vec![job.id]);
    let end = Box::pin(async move {
        tokio::select! {
            () = until_true(app.closing) => {}
            () = event_feed::until(|| is_over(&access)) => {}
        }
    });
    let events = stream::unfold(
        (follower, place, end),
        async |(mut follower, place, mut end): (Follower, LiveStream, _)| {
            tokio::select! {
                job = follower.next() => job.map(|job| (Ok::<_, Infallible>(event(&job)), (follower, place, end))),
                () = &mut end => None,
            }
        },
    );
    let sse = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    Ok(sse.into_response())
}

async fn is_over(access: &ProjectAccess) -> iottly_store::Result<bool> {
    Ok(!access.still_reads(clock::now()).await?)
}
