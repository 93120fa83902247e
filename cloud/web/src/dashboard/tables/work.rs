//! Tables of what happens in a project: jobs and their failures, rollouts of a group and what its devices run, boards that wait,
//! mails and keys.

use std::collections::HashMap;

use iottly_cloud::clock;
use iottly_core::model::{Group, JobFilter, MAX_JOB_FAILURES};
use iottly_protocol::{DeviceId, GroupId};

use super::super::text::iso;
use crate::api::dto::JobDto;
use crate::api::{alert_mails, copies, jobs as rest, release_keys};
use crate::auth::ProjectAccess;
use crate::csv::Csv;
use crate::error::ApiError;

/// Maximum number of jobs, rollouts or digests of a file.
const ROWS: usize = 10_000;

/// Returns the jobs of a project, the newest first.
pub(super) async fn jobs(access: &ProjectAccess) -> Result<Csv, ApiError> {
    let mut csv = Csv::new(&["id", "job", "state", "devices", "done", "failed", "by", "created"]);
    let store = &access.services().store;
    for job in store.jobs(access.id(), JobFilter::default(), ROWS).await? {
        let job = JobDto::new(&job, clock::now());
        csv.row(&[
            &job.id.to_string(),
            &job.title,
            &job.state,
            &job.total.to_string(),
            &job.done.to_string(),
            &job.failed.to_string(),
            &job.by,
            &iso(job.created.at()),
        ]);
    }
    Ok(csv)
}

/// Returns the devices that failed in a job.
pub(super) async fn failures(access: &ProjectAccess, job: &str) -> Result<Csv, ApiError> {
    let (job, store) = (rest::find(access, job).await?, &access.services().store);
    let limit = usize::try_from(MAX_JOB_FAILURES).unwrap_or(usize::MAX);
    let failures = store.job_failures(access.id(), job.id, limit).await?;
    let ids: Vec<_> = failures.iter().map(|failure| failure.device).collect();
    let devices = store.devices_with_ids(access.id(), &ids).await?;
    let names: HashMap<DeviceId, &str> = devices
        .iter()
        .map(|device| (device.scope.device, device.name.as_str()))
        .collect();
    let mut csv = Csv::new(&["device", "name", "reason"]);
    for failure in &failures {
        let name = names.get(&failure.device).copied().unwrap_or_default();
        csv.row(&[&failure.device.to_string(), name, &failure.reason]);
    }
    Ok(csv)
}

/// Returns the rollouts of a group, the newest first.
pub(super) async fn rollouts(access: &ProjectAccess, group: &str) -> Result<Csv, ApiError> {
    let group = find(access, group).await?;
    let mut csv = Csv::new(&["id", "started", "state", "release", "author", "devices"]);
    let store = &access.services().store;
    for rollout in store.rollouts(access.id(), Some(group.id), ROWS).await? {
        csv.row(&[
            &rollout.id.to_string(),
            &iso(rollout.created),
            rollout.status.as_str(),
            &rollout.release.to_string(),
            &rollout.author,
            &rollout.devices.to_string(),
        ]);
    }
    Ok(csv)
}

/// Returns what the devices of a group have reported to run: by digest of the component, empty for those without a report.
pub(super) async fn running(access: &ProjectAccess, group: &str) -> Result<Csv, ApiError> {
    let group = find(access, group).await?;
    let mut csv = Csv::new(&["digest", "devices"]);
    let store = &access.services().store;
    for count in store.group_digests(access.id(), group.id, ROWS).await? {
        csv.row(&[&count.digest, &count.total.to_string()]);
    }
    Ok(csv)
}

/// Returns a group by its id.
async fn find(access: &ProjectAccess, group: &str) -> Result<Group, ApiError> {
    let id = group.parse();
    let id: GroupId = id.map_err(|_| ApiError::missing("project has no such deployment group"))?;
    access.group(id).await
}

/// Returns the boards that wait for approval.
pub(super) fn waiting(access: &ProjectAccess) -> Csv {
    let mut csv = Csv::new(&["code", "name", "profile", "mac", "from", "waits_ms"]);
    for shown in access.services().enrolment.waiting(access.id()) {
        let board = shown.request.board();
        csv.row(&[
            &shown.code.to_string(),
            board.name.as_deref().unwrap_or_default(),
            &board.profile,
            board.mac.as_deref().unwrap_or_default(),
            &shown.from,
            &shown.waits_ms.to_string(),
        ]);
    }
    csv
}

/// Returns the boards that log in as one device.
pub(super) async fn copies(access: &ProjectAccess) -> Result<Csv, ApiError> {
    let mut csv = Csv::new(&["device", "name", "address", "connected"]);
    for copy in copies::of(access).await? {
        csv.row(&[
            &copy.device.to_string(),
            &copy.name,
            &copy.address,
            if copy.connected { "true" } else { "false" },
        ]);
    }
    Ok(csv)
}

/// Returns the mails about alerts of the last days, the newest first.
pub(super) async fn mails(access: &ProjectAccess) -> Result<Csv, ApiError> {
    let mut csv = Csv::new(&["subject", "to", "state", "attempts", "reason", "queued"]);
    for mail in alert_mails::mails(access.clone()).await?.0.mails {
        csv.row(&[
            &mail.subject,
            &mail.to,
            &mail.state,
            &mail.attempts.to_string(),
            mail.reason.as_deref().unwrap_or_default(),
            &iso(mail.queued.at()),
        ]);
    }
    Ok(csv)
}

/// Returns the keys that a project's releases and orders are signed with.
pub(super) async fn keys(access: &ProjectAccess) -> Result<Csv, ApiError> {
    let mut csv = Csv::new(&[
        "key",
        "scheme",
        "signs",
        "since root",
        "since",
        "by",
        "until root",
        "until",
        "releases",
    ]);
    let keys = release_keys::of(access).await?;
    for key in keys.root.keys.iter().chain(&keys.former) {
        let until = key.until.as_ref();
        csv.row(&[
            &key.key,
            &key.scheme,
            &key.roles.join(" "),
            &key.since.version.to_string(),
            &iso(key.since.at.at()),
            key.since.by.as_deref().unwrap_or_default(),
            &until.map(|until| until.version.to_string()).unwrap_or_default(),
            &until.map(|until| iso(until.at.at())).unwrap_or_default(),
            &key.releases.map(|count| count.to_string()).unwrap_or_default(),
        ]);
    }
    Ok(csv)
}
