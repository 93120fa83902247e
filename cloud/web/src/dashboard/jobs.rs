//! Jobs of a project: long actions over many devices, with their progress.

use std::collections::HashMap;

use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Redirect, Response};
use iottly_cloud::clock;
use iottly_core::model::{Job, JobFailure, JobFilter, JobTask, MAX_JOB_FAILURES, UnixMs};
use iottly_protocol::DeviceId;
use maud::{Markup, html};
use serde::Deserialize;

use super::kit::csv::csv_link;
use super::kit::empty::{broken, empty, nothing_matches};
use super::kit::filter::{Chip, chips};
use super::kit::icons::{Icon, icon};
use super::kit::notice::{Tone, notice};
use super::kit::script::{script, script_for};
use super::layout::failure;
use super::shell::{Screen, Section};
use super::text;
use super::visitor::Visitor;
use crate::api::dto::JobDto;
use crate::api::jobs as rest;
use crate::error::ApiError;

/// Maximum number of jobs on the page; the API lists all.
const JOBS: usize = 100;
/// Maximum number of jobs whose progress the page follows.
const FOLLOWED: usize = 20;

/// Query of the list.
#[derive(Deserialize)]
pub(super) struct Asked {
    /// Words of the state: `open`, `ended`, or none for all jobs.
    filter: Option<String>,
}

pub(super) async fn list(visitor: Visitor, Query(asked): Query<Asked>) -> Response {
    page(&visitor, asked.filter.as_deref().unwrap_or_default().trim())
        .await
        .unwrap_or_else(|error| failure(&error))
}

async fn page(visitor: &Visitor, filter: &str) -> Result<Response, ApiError> {
    let (access, base, now) = (&visitor.project, visitor.base(), clock::now());
    let own = format!("{base}/jobs");
    // A part that cannot be read leaves the rest of the page.
    let read = access
        .services()
        .store
        .jobs(access.id(), JobFilter::default(), JOBS)
        .await
        .map_err(|error| ApiError::from(error).message().to_owned());
    let jobs: &[Job] = read.as_deref().unwrap_or_default();
    let is_open = |job: &&Job| !job.progress.state.is_final();
    let open = jobs.iter().filter(is_open).count();
    let wanted = |job: &&Job| match filter {
        "open" => is_open(job),
        "ended" => !is_open(job),
        "" => true,
        state => job.progress.state.as_str() == state,
    };
    let shown: Vec<JobDto> = jobs
        .iter()
        .filter(wanted)
        .map(|job| JobDto::new(job, now))
        .collect();
    let followed: Vec<String> = jobs
        .iter()
        .filter(is_open)
        .take(FOLLOWED)
        .map(|job| job.id.to_string())
        .collect();
    let chip = |name, filter, count| Chip { name, filter, count };
    let counts = [
        chip("All", "", jobs.len()),
        chip("open", "open", open),
        chip("ended", "ended", jobs.len() - open),
    ];
    // Rows of jobs that start later; a page whose filter they do not match stays as it is.
    let later = (read.is_ok() && matches!(filter, "" | "open")).then_some(filter);
    let content = html! {
        div.head { div {
            h1 { "Jobs " span.count data-count="All" { (jobs.len()) } }
            p.lede { "A job continues when this page is closed, and after a restart of the cloud." }
        } div.actions { (csv_link(&format!("{base}/csv/jobs"), "jobs.csv")) } }
        (chips(&own, filter, &counts))
        section.card data-flush aria-label="Jobs" data-later=[later] {
            @if let Err(reason) = &read { (broken("The jobs could not be read", reason)) }
            @else if jobs.is_empty() {
                (empty("No jobs yet", "Moving, tagging, commanding, exporting or deleting many devices is a job. Select devices to start one.",
                    &html! { a.button data-kind="main" href={ (base) "/devices" } { "Select devices" } }))
            } @else if shown.is_empty() { (nothing_matches("job", filter, jobs.len(), &own)) }
            @else { (table(&shown, &own, now)) }
        }
        (script("iottly job list", ("GET", "/jobs", None)))
    };
    let screen = Screen {
        section: Section::Jobs,
        title: "Jobs",
        crumbs: &[],
        events: Some(format!("{base}/events?later&jobs={}", followed.join(","))),
        scripts: &["job.js"],
        content,
    };
    screen.respond(visitor).await
}

fn table(jobs: &[JobDto], own: &str, now: UnixMs) -> Markup {
    html! {
        table.table data-rows="link" {
            thead { tr { th { "Job" } th { "State" } th.num { "Devices" } th.p2.num { "Failed" } th.p2 { "Started by" } th.p3 { "When" } } }
            tbody { @for job in jobs { tr data-job=(job.id) {
                td { a.row-link data-live="title" href={ (own) "/" (job.id) } { (job.title) } }
                td { (state(job)) }
                td.num { span data-live="done" { (job.done) } " of " span data-live="total" { (job.total) } }
                td.p2.num { span data-live="failed" { (job.failed) } }
                td.p2.break { span data-live="by" { (job.by) } }
                td.p3.soft { time datetime=(text::iso(job.created.at())) { (text::ago(job.created.at(), now)) " ago" } }
            } } }
        }
    }
}

/// Returns the state of a job as a word with its tone.
fn state(job: &JobDto) -> Markup {
    let tone = match &*job.state {
        "finished" if job.failed == 0 => "good",
        "finished" => "warn",
        "failed" => "bad",
        "queued" | "running" => "busy",
        _ => "idle",
    };
    html! { span.tag data-live="state" data-tone=(tone) { (job.state) } }
}

pub(super) async fn show(visitor: Visitor, Path((_, id)): Path<(String, String)>) -> Response {
    one(&visitor, &id).await.unwrap_or_else(|error| failure(&error))
}

async fn one(visitor: &Visitor, id: &str) -> Result<Response, ApiError> {
    let (access, base, now) = (&visitor.project, visitor.base(), clock::now());
    let stored = rest::find(access, id).await?;
    let job = JobDto::new(&stored, now);
    let own = format!("{base}/jobs/{}", job.id);
    let limit = usize::try_from(MAX_JOB_FAILURES).unwrap_or(usize::MAX);
    let failures = access
        .services()
        .store
        .job_failures(access.id(), stored.id, limit)
        .await
        .map_err(|error| ApiError::from(error).message().to_owned());
    let group = match &stored.task {
        JobTask::Move { group } => {
            let known = access.services().store.group(access.id(), *group).await?;
            known.map(|known| known.name)
        }
        _ => None,
    };
    let names: HashMap<DeviceId, String> = match &failures {
        Ok(failures) if !failures.is_empty() => {
            let ids: Vec<_> = failures.iter().map(|failure| failure.device).collect();
            let devices = access
                .services()
                .store
                .devices_with_ids(access.id(), &ids)
                .await?;
            let devices = devices.into_iter();
            devices.map(|device| (device.scope.device, device.name)).collect()
        }
        _ => HashMap::new(),
    };
    let is_open = !stored.progress.state.is_final();
    let content = html! {
        div.head {
            div { h1.break { (job.title) @if let Some(group) = &group { " to " (group) } } }
            div.actions {
                @if let Some(file) = &job.file {
                    a.button data-kind="main" href={ (own) "/file" } { (icon(Icon::Download)) "Download, " (text::size(file.bytes)) }
                }
                @if is_open && visitor.may(stored.task.scope()) {
                    form method="post" action={ (own) "/cancel" } { button data-kind="danger" { "Cancel the job" } }
                }
            }
        }
        @if let Some(reason) = &job.reason { (notice(Tone::Bad, &html! { p.break { b { "The job has failed: " } (reason) } })) }
        section.card.stack data-job=(job.id) data-open[is_open] aria-labelledby="progress" {
            div.card-head { h2 #progress { "Progress" } (state(&job)) }
            progress max=(job.total) value=(job.done) aria-labelledby="progress" {}
            p role="status" { span data-live="done" { (job.done) } " of " (job.total) " devices done, " span data-live="failed" { (job.failed) } " failed" }
            p.soft {
                "Started by " span.break { (job.by) } ", " (text::ago(job.created.at(), now)) " ago."
                @if let (Some(started), Some(ended)) = (job.started, job.ended) { " It took " (lasted(started.at(), ended.at())) "." }
                @if is_open { " It continues when this page is closed." }
            }
            @if let Some(file) = &job.file {
                p { (file.messages) " entries. The file is removed in " (text::ago(now, file.until.at())) "." }
            }
        }
        section.card data-flush aria-labelledby="failures" {
            div.card-head { h2 #failures { "Devices that failed" } (csv_link(&format!("{base}/csv/failures?job={}", job.id), "failures.csv")) }
            @match &failures {
                Err(reason) => (broken("The failures could not be read", reason)),
                Ok(failures) if failures.is_empty() => (empty("None", "A device that fails is listed here with the reason; the others are not affected.", &html! {})),
                Ok(failures) => {
                    (failed(failures, &names, &base))
                    @if job.failed > failures.len() as u64 { p.soft.card-foot { "The first " (failures.len()) " of " (job.failed) "." } }
                },
            }
        }
        (script_for("watch it", &format!("iottly job watch {}", job.id), ("GET", &format!("/jobs/{}", job.id), None)))
        @if is_open { (script_for("cancel it", &format!("iottly job cancel {}", job.id), ("POST", &format!("/jobs/{}/cancel", job.id), None))) }
    };
    let screen = Screen {
        section: Section::Jobs,
        title: &job.title,
        crumbs: &[("Jobs", format!("{base}/jobs"))],
        events: is_open.then(|| format!("{base}/events?jobs={}", job.id)),
        scripts: &["job.js"],
        content,
    };
    screen.respond(visitor).await
}

fn failed(failures: &[JobFailure], names: &HashMap<DeviceId, String>, base: &str) -> Markup {
    html! {
        table.table data-fold {
            thead { tr { th { "Device" } th { "Reason" } } }
            tbody { @for failure in failures { tr {
                td { @match names.get(&failure.device) {
                    Some(name) => a.break href={ (base) "/devices/" (failure.device) } { (name) },
                    None => span.mono.break { (failure.device) },
                } }
                td.break { (failure.reason) }
            } } }
        }
    }
}

fn lasted(started: UnixMs, ended: UnixMs) -> String {
    let millis = ended.saturating_sub(started).max(0);
    if millis < 60_000 {
        format!("{}.{} s", millis / 1000, millis % 1000 / 100)
    } else {
        format!("{} min {} s", millis / 60_000, millis / 1000 % 60)
    }
}

/// Ends a job.
pub(super) async fn cancel(visitor: Visitor, Path((project, id)): Path<(String, String)>) -> Response {
    let own = format!("{}/jobs/{id}", visitor.base());
    match rest::cancel(visitor.project.clone(), Path((project, id))).await {
        Ok(_) => Redirect::to(&own).into_response(),
        Err(error) => failure(&error),
    }
}

/// Returns the file of an export.
pub(super) async fn file(visitor: Visitor, path: Path<(String, String)>) -> Response {
    rest::file(visitor.project.clone(), path)
        .await
        .unwrap_or_else(|error| failure(&error))
}
