//! Endpoints for jobs: long actions over many devices.

mod feed;
mod start;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use iottly_cloud::clock;
use iottly_cloud::jobs::FileError;
use iottly_core::model::{Change, Job, JobFilter, JobId, JobTask, MAX_JOB_FAILURES};
use tokio::io::AsyncReadExt as _;

use super::Answer;
use super::body::JsonBody;
use super::command::key_of;
use super::dto::{JobBody, JobDto, JobList, OK, OneJob};
use super::paged::{PageSize, before};
use super::query::Params;
use super::spaced::Spaced;
use crate::app::App;
use crate::auth::ProjectAccess;
use crate::error::ApiError;

pub(crate) use feed::{Follower, event};
pub(crate) use start::{begin, chosen};

/// Default and largest number of jobs in a response.
const DEFAULT_JOBS: usize = 20;
const MAX_JOBS: usize = 100;
/// Number of bytes of a file that are sent at once.
const PIECE: usize = 64 << 10;

/// Lists the jobs of the project, the newest first.
#[utoipa::path(
    get,
    path = "/jobs",
    tag = "jobs",
    params(
        ("state" = Option<String>, Query, pattern = "^(open|ended|all)$", description = "`open` for jobs that wait or run, `ended`, or `all` (default)"),
        ("numJobs" = Option<i64>, Query, minimum = 1, description = "Maximum number of jobs; 20 by default, 100 at most"),
        ("before" = Option<String>, Query, description = "`next` of the previous page"),
    ),
    responses((status = 200, description = "The jobs, newest first", body = JobList))
)]
pub(super) async fn all(access: ProjectAccess, params: Params) -> Answer<JobList> {
    let size = PageSize::read(&params, "numJobs", DEFAULT_JOBS, MAX_JOBS)?;
    let invalid = |message: &str| ApiError::invalid("invalid_query", message);
    let open = match params.get("state") {
        None | Some("all") => None,
        Some("open") => Some(true),
        Some("ended") => Some(false),
        Some(_) => return Err(invalid("state is not open, ended or all")),
    };
    let filter = JobFilter {
        open,
        group: access.principal().group,
        before: before(&params, "jobs", cursor)?,
    };
    let jobs = access
        .services()
        .store
        .jobs(access.id(), filter, size.to_read())
        .await?;
    let now = clock::now();
    let jobs: Vec<Shown> = jobs.into_iter().map(|job| Shown(job, now)).collect();
    let (jobs, next) = size.cut(jobs, |Shown(last, _)| format!("{}-{}", last.created, last.id));
    Ok(Spaced(JobList {
        jobs,
        next,
        status: OK,
    }))
}

/// A job, and the time at which it is shown.
struct Shown(Job, iottly_core::model::UnixMs);

impl From<Shown> for JobDto {
    fn from(Shown(job, now): Shown) -> Self {
        Self::new(&job, now)
    }
}

fn cursor(text: &str) -> Option<(iottly_core::model::UnixMs, JobId)> {
    let (created, id) = text.split_once('-')?;
    Some((created.parse().ok()?, id.parse().ok()?))
}

/// Starts a job over the devices that are named, or that match a filter now.
///
/// The job continues without the request. It needs the scope of the same action on one device: `write` to move, tag and delete,
/// `command` to send a command, `read` to export; `read` as well for a filter. With an `Idempotency-Key`, a repeated request
/// returns the job of the first one.
#[utoipa::path(
    post,
    path = "/jobs",
    tag = "jobs",
    params(("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,255}$", description = "Key under which the request can be repeated without starting another job")),
    request_body = JobBody,
    responses((status = 200, description = "The job", body = OneJob))
)]
pub(super) async fn create(
    access: ProjectAccess,
    headers: HeaderMap,
    JsonBody(body): JsonBody<JobBody>,
) -> Answer<OneJob> {
    access.require(JobTask::scope_of(&body.kind))?;
    let text = serde_json::to_vec(&body).map_err(|error| ApiError::internal(&error))?;
    let key = key_of(&access, &headers, &text)?;
    let job = begin(&access, body, key).await?;
    one(&access, &job).await
}

/// Returns a job with its counts, and the devices that failed.
#[utoipa::path(
    get,
    path = "/jobs/{job}",
    tag = "jobs",
    responses((status = 200, description = "The job", body = OneJob))
)]
pub(super) async fn show(access: ProjectAccess, Path((_, id)): Path<(String, String)>) -> Answer<OneJob> {
    let job = find(&access, &id).await?;
    one(&access, &job).await
}

/// Ends a job: devices that are done stay as they are, the others are left alone.
#[utoipa::path(
    post,
    path = "/jobs/{job}/cancel",
    tag = "jobs",
    responses((status = 200, description = "The job", body = OneJob))
)]
pub(crate) async fn cancel(access: ProjectAccess, Path((_, id)): Path<(String, String)>) -> Answer<OneJob> {
    let job = find(&access, &id).await?;
    access.require(job.task.scope())?;
    access.change(Change::CancelJob(job.id), clock::now()).await?;
    let job = find(&access, &id).await?;
    one(&access, &job).await
}

/// Returns a job whenever it has changed, as server-sent events `job`, until it has ended.
#[utoipa::path(
    get,
    path = "/jobs/{job}/events",
    tag = "jobs",
    responses((status = 200, description = "The events", content_type = "text/event-stream", body = String))
)]
pub(super) async fn events(
    access: ProjectAccess,
    State(app): State<App>,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let job = find(&access, &id).await?;
    feed::response(access, app, job)
}

/// Returns the file of an export: JSON lines as of the export of one device, compressed with gzip.
#[utoipa::path(
    get,
    path = "/jobs/{job}/file",
    tag = "jobs",
    responses(
        (status = 200, description = "The file", content_type = "application/gzip", body = String),
        (status = 409, description = "The job has not finished, or another process of the cloud has the file (`file_elsewhere`)"),
    )
)]
pub(crate) async fn file(
    access: ProjectAccess,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let job = find(&access, &id).await?;
    if !job.task.is_export() {
        return Err(ApiError::missing("the job writes no file"));
    }
    let shown = JobDto::new(&job, clock::now());
    if shown.file.is_none() {
        return Err(if job.progress.state.is_final() {
            ApiError::missing(
                "the job has no file: it did not finish, or the file was removed a day after its end",
            )
        } else {
            ApiError::conflict("not_finished", "the job has not finished")
        });
    }
    let file = access.services().jobs.open(&job).await.map_err(unreadable)?;
    let name = format!("attachment; filename=\"messages-{}.jsonl.gz\"", job.id);
    let name = HeaderValue::from_str(&name).expect("an id has ASCII characters only");
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/gzip")),
        (header::CONTENT_DISPOSITION, name),
        // Compressed as it is.
        (header::CONTENT_ENCODING, HeaderValue::from_static("identity")),
    ];
    let pieces = stream::try_unfold(file, async |mut file| {
        let mut piece = vec![0; PIECE];
        let read = file.read(&mut piece).await?;
        piece.truncate(read);
        Ok::<_, std::io::Error>((read > 0).then(|| (Bytes::from(piece), file)))
    });
    Ok((headers, Body::from_stream(pieces)).into_response())
}

fn unreadable(error: FileError) -> ApiError {
    match error {
        FileError::Elsewhere => ApiError::conflict("file_elsewhere", error.to_string()),
        FileError::Missing => ApiError::missing(error.to_string()),
        FileError::Io { .. } | FileError::NoRoom => ApiError::internal(&error),
    }
}

/// Returns the job of the project with this id.
///
/// # Errors
/// 404 when the project has no such job.
pub(crate) async fn find(access: &ProjectAccess, id: &str) -> Result<Job, ApiError> {
    let unknown = || ApiError::missing("project has no such job");
    let id: JobId = id.parse().map_err(|_| unknown())?;
    let job = access.services().store.job(access.id(), id).await?;
    job.ok_or_else(unknown)
}

async fn one(access: &ProjectAccess, job: &Job) -> Answer<OneJob> {
    let limit = usize::try_from(MAX_JOB_FAILURES).unwrap_or(usize::MAX);
    let failures = access
        .services()
        .store
        .job_failures(access.id(), job.id, limit)
        .await?;
    Ok(Spaced(OneJob {
        job: JobDto::new(job, clock::now()),
        failures: failures.into_iter().map(Into::into).collect(),
        status: OK,
    }))
}
