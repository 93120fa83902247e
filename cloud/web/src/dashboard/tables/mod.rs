//! Tables of a project as files of comma-separated values, by name. Long ones are read in parts while the client takes them.

mod alerts;
mod audit;
mod work;

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::Response;
use iottly_core::model::{
    CommandRecord, MAIN_BRANCH, Revision, RolloutId, RolloutMember, Scopes, StoredRelease, UnixMs,
    WebhookAttempt,
};
use iottly_store::{CommandQuery, LogPlace};
use serde::Deserialize;
use tokio::sync::watch;

pub(super) use audit::of_organization as organization_audit;

use super::layout::failure;
use super::text::iso;
use super::visitor::Visitor;
use super::{crashes, groups};
use crate::api;
use crate::api::logs::{log_query, project_logs};
use crate::api::rollouts::place_named;
use crate::api::webhooks::named as named_webhook;
use crate::app::App;
use crate::auth::ProjectAccess;
use crate::csv::{Csv, MAX_ROWS, streamed};
use crate::error::ApiError;

/// Number of rows of a part.
const PART: usize = 500;

/// Object whose table is asked for, and its filter.
#[derive(Deserialize)]
pub(super) struct Asked {
    branch: Option<String>,
    device: Option<String>,
    filter: Option<String>,
    group: Option<String>,
    job: Option<String>,
    level: Option<String>,
    place: Option<String>,
    rollout: Option<String>,
    search: Option<String>,
    webhook: Option<String>,
}

/// Returns a table as a file.
pub(super) async fn show(
    visitor: Visitor,
    State(app): State<App>,
    Path((_, table)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Response {
    file(&visitor, &table, asked, app.closing)
        .await
        .unwrap_or_else(|error| failure(&error))
}

async fn file(
    visitor: &Visitor,
    table: &str,
    asked: Asked,
    closing: watch::Receiver<bool>,
) -> Result<Response, ApiError> {
    let access = visitor.project.clone();
    Ok(match table {
        "alerts" => alerts::alerts(&access).await?.into_file("alerts.csv"),
        "attempts" => return attempts(access, asked, closing).await,
        "audit" => return audit::of_project(access, asked, closing).await,
        "copies" => work::copies(&access).await?.into_file("copies.csv"),
        "commands" => return commands(visitor, asked, closing).await,
        "crashes" => crashes::csv(visitor).await?.into_file("crashes.csv"),
        "definitions" => definitions(&access).await?.into_file("definitions.csv"),
        "failures" => {
            let job = asked.job.as_deref().unwrap_or_default();
            work::failures(&access, job).await?.into_file("failures.csv")
        }
        "groups" => of_groups(&access).await?.into_file("groups.csv"),
        "jobs" => work::jobs(&access).await?.into_file("jobs.csv"),
        "keys" => work::keys(&access).await?.into_file("keys.csv"),
        "latest" => latest(visitor, asked).await?.into_file("latest.csv"),
        "log" => log(visitor, asked).await?.into_file("log.csv"),
        "logs" => return logs(access, asked, closing).await,
        "mails" => work::mails(&access).await?.into_file("mails.csv"),
        "messages" => return messages(visitor, asked, closing).await,
        "minutes" => minutes(&access).await?.into_file("minutes.csv"),
        "releases" => return releases(access, closing).await,
        "revisions" => return revisions(access, asked, closing).await,
        "rollout" => return rollout(access, &asked, closing).await,
        "rollouts" => {
            let group = asked.group.as_deref().unwrap_or_default();
            work::rollouts(&access, group).await?.into_file("rollouts.csv")
        }
        "rules" => alerts::rules(&access).await?.into_file("rules.csv"),
        "running" => {
            let group = asked.group.as_deref().unwrap_or_default();
            work::running(&access, group).await?.into_file("running.csv")
        }
        "tokens" => tokens(&access).await?.into_file("tokens.csv"),
        "waiting" => work::waiting(&access).into_file("waiting.csv"),
        "webhooks" => webhooks(&access).await?.into_file("webhooks.csv"),
        _ => return Err(ApiError::missing("no such table")),
    })
}

/// Returns the latest values of a device.
async fn latest(visitor: &Visitor, asked: Asked) -> Result<Csv, ApiError> {
    let access = visitor.device(&asked.device.unwrap_or_default()).await?;
    let mut csv = Csv::new(&["path", "value", "at"]);
    for value in api::latest::of(&access).await?.values() {
        csv.row(&[&value.path, &value.value.to_string(), &iso(value.at)]);
    }
    Ok(csv)
}

/// Returns the messages of the minutes of a day.
async fn minutes(access: &ProjectAccess) -> Result<Csv, ApiError> {
    let mut csv = Csv::new(&["start", "messages"]);
    for minute in api::minutes::read(access, api::minutes::MAX_MINUTES).await? {
        csv.row(&[&iso(minute.start), &minute.messages.to_string()]);
    }
    Ok(csv)
}

fn optional(at: Option<UnixMs>) -> String {
    at.map(iso).unwrap_or_default()
}

async fn definitions(access: &ProjectAccess) -> Result<Csv, ApiError> {
    let mut csv = Csv::new(&["type", "direction", "description", "format"]);
    for definition in access.definitions().await? {
        csv.row(&[
            &definition.cmd_type,
            super::definitions::direction(definition.direction),
            &definition.description,
            &super::definitions::format(&definition),
        ]);
    }
    Ok(csv)
}

async fn of_groups(access: &ProjectAccess) -> Result<Csv, ApiError> {
    let mut csv = Csv::new(&["id", "name", "state", "branch", "revision", "devices"]);
    let counts = access.services().store.group_counts(access.id()).await?;
    for group in access.groups().await? {
        csv.row(&[
            &group.id.to_string(),
            &group.name,
            group.status.map_or("", |status| status.as_str()),
            group.branch.as_deref().unwrap_or_default(),
            group.current_revision.as_deref().unwrap_or_default(),
            &groups::counts_of(&counts, &group).to_string(),
        ]);
    }
    Ok(csv)
}

async fn webhooks(access: &ProjectAccess) -> Result<Csv, ApiError> {
    let mut csv = Csv::new(&[
        "id",
        "description",
        "url",
        "enabled",
        "type",
        "channel",
        "waiting",
        "failed",
        "dropped",
        "skipped",
    ]);
    for state in access.services().store.webhooks(access.id()).await? {
        let (hook, queue) = (&state.hook, &state.queue);
        let [waiting, failed, dropped, skipped] =
            [queue.waiting, queue.failed, queue.dropped, queue.skipped].map(|count| count.to_string());
        csv.row(&[
            &hook.key.hook.to_string(),
            &hook.description,
            &hook.url,
            if hook.enabled { "true" } else { "false" },
            hook.kind.as_str(),
            hook.channel.as_deref().unwrap_or_default(),
            &waiting,
            &failed,
            &dropped,
            &skipped,
        ]);
    }
    Ok(csv)
}

async fn tokens(access: &ProjectAccess) -> Result<Csv, ApiError> {
    access.require(Scopes::ADMIN)?;
    let mut csv = Csv::new(&["id", "name", "prefix", "scopes", "created", "expires", "used"]);
    for token in access.services().store.tokens(access.id()).await? {
        csv.row(&[
            &token.id.to_string(),
            &token.name,
            &token.prefix,
            &token.scopes.names().collect::<Vec<_>>().join(" "),
            &iso(token.created),
            &optional(token.expires),
            &optional(token.used),
        ]);
    }
    Ok(csv)
}

async fn rollout(
    access: ProjectAccess,
    asked: &Asked,
    closing: watch::Receiver<bool>,
) -> Result<Response, ApiError> {
    let unknown = || ApiError::missing("project has no such rollout");
    let id = asked.rollout.as_deref().unwrap_or_default();
    let id: RolloutId = id.parse().map_err(|_| unknown())?;
    let rollout = access.services().store.rollout(access.id(), id).await?;
    let rollout = Arc::new(rollout.ok_or_else(unknown)?);
    let named = asked.place.as_deref().filter(|place| !place.is_empty());
    let at = named.map(place_named).transpose()?;
    let read = move |from| {
        let (access, rollout) = (access.clone(), Arc::clone(&rollout));
        async move {
            let store = &access.services().store;
            store.rollout_page(access.id(), &rollout, at, from, PART).await
        }
    };
    let row = |csv: &mut Csv, member: &RolloutMember| {
        let sent = member.directive.as_ref();
        csv.row(&[
            &member.device.to_string(),
            &member.name,
            if member.online { "true" } else { "false" },
            groups::place_name(member),
            sent.and_then(|sent| sent.reason)
                .map_or("", |reason| reason.as_str()),
            sent.and_then(|sent| sent.detail.as_deref()).unwrap_or_default(),
            &optional(sent.map(|sent| sent.changed)),
        ]);
    };
    let columns = ["device", "name", "online", "state", "reason", "detail", "changed"];
    let place = |member: &RolloutMember| member.device;
    listed("rollout.csv", &columns, read, row, place, closing).await
}

async fn log(visitor: &Visitor, asked: Asked) -> Result<Csv, ApiError> {
    let access = visitor
        .device(asked.device.as_deref().unwrap_or_default())
        .await?;
    let mut csv = Csv::new(&["time", "level", "text"]);
    for line in access.services().store.logs(access.scope(), MAX_ROWS).await? {
        csv.row(&[
            &iso(line.device_timestamp),
            super::kit::stream::level_name(line.level),
            &line.text,
        ]);
    }
    Ok(csv)
}

async fn logs(
    access: ProjectAccess,
    asked: Asked,
    closing: watch::Receiver<bool>,
) -> Result<Response, ApiError> {
    let next = move |before: Option<LogPlace>| {
        let access = access.clone();
        let query = log_query(
            asked.level.as_deref(),
            asked.search.as_deref(),
            (None, before),
            PART,
        );
        async move {
            let (lines, next) = project_logs(&access, &query?).await?;
            let mut csv = Csv::default();
            for line in &lines {
                csv.row(&[
                    &iso(line.line.devicetimestamp.at()),
                    &line.device.to_string(),
                    &line.name,
                    super::kit::stream::level_name(line.line.level),
                    &line.line.text,
                    &iso(line.line.timestamp.at()),
                ]);
            }
            Ok((csv, next.map(Some)))
        }
    };
    streamed(
        "logs.csv",
        &["time", "device", "name", "level", "text", "received"],
        (None, next),
        closing,
    )
    .await
}

/// Returns a table of entries that the store lists in parts, each behind the place of the last entry of the part before.
async fn listed<T, C, R, F>(
    name: &'static str,
    columns: &[&str],
    read: R,
    row: fn(&mut Csv, &T),
    place: fn(&T) -> C,
    closing: watch::Receiver<bool>,
) -> Result<Response, ApiError>
where
    T: Send + Sync + 'static,
    C: Clone + Send + 'static,
    R: Fn(Option<C>) -> F + Send + Sync + 'static,
    F: Future<Output = iottly_store::Result<Vec<T>>> + Send + 'static,
{
    let next = move |behind: Option<C>| {
        let entries = read(behind);
        async move {
            let (entries, mut csv) = (entries.await?, Csv::default());
            for entry in &entries {
                row(&mut csv, entry);
            }
            let full = entries.last().filter(|_| entries.len() >= PART);
            Ok((csv, full.map(|last| Some(place(last)))))
        }
    };
    streamed(name, columns, (None, next), closing).await
}

async fn attempts(
    access: ProjectAccess,
    asked: Asked,
    closing: watch::Receiver<bool>,
) -> Result<Response, ApiError> {
    let key = named_webhook(&access, asked.webhook.as_deref().unwrap_or_default())
        .await?
        .hook
        .key;
    let read = move |before| {
        let store = access.services().store.clone();
        async move { store.webhook_attempts(key, before, PART).await }
    };
    let row = |csv: &mut Csv, attempt: &WebhookAttempt| {
        csv.row(&[
            &iso(attempt.at),
            &attempt.message.to_string(),
            &attempt.attempt.to_string(),
            &attempt.result,
            &attempt.millis.to_string(),
            &attempt.bytes.to_string(),
            &attempt.answer,
        ]);
    };
    let columns = [
        "time",
        "message",
        "attempt",
        "result",
        "milliseconds",
        "bytes",
        "answer",
    ];
    listed(
        "attempts.csv",
        &columns,
        read,
        row,
        |attempt: &WebhookAttempt| attempt.number,
        closing,
    )
    .await
}

async fn releases(access: ProjectAccess, closing: watch::Receiver<bool>) -> Result<Response, ApiError> {
    let read = move |before| {
        let (store, project) = (access.services().store.clone(), access.id());
        async move { store.releases(project, before, PART).await }
    };
    let row = |csv: &mut Csv, release: &StoredRelease| {
        csv.row(&[
            &release.seq.to_string(),
            &release.branch,
            &release.revision.to_string(),
            &release.sha256,
            &release.size.to_string(),
            &release.capabilities.join(" "),
            &release.author,
            &iso(release.created),
        ]);
    };
    let columns = [
        "release",
        "branch",
        "revision",
        "sha256",
        "bytes",
        "capabilities",
        "author",
        "created",
    ];
    listed(
        "releases.csv",
        &columns,
        read,
        row,
        |release: &StoredRelease| release.seq,
        closing,
    )
    .await
}

async fn revisions(
    access: ProjectAccess,
    asked: Asked,
    closing: watch::Receiver<bool>,
) -> Result<Response, ApiError> {
    let branch = asked.branch.unwrap_or_else(|| MAIN_BRANCH.to_owned());
    let read = move |before| {
        let (store, project, branch) = (access.services().store.clone(), access.id(), branch.clone());
        async move { store.revisions(project, &branch, before, PART).await }
    };
    let row = |csv: &mut Csv, revision: &Revision| {
        csv.row(&[
            &revision.number.to_string(),
            &revision.message,
            &revision.author,
            &iso(revision.created),
            &revision.digest,
        ]);
    };
    let columns = ["revision", "message", "author", "created", "digest"];
    listed(
        "revisions.csv",
        &columns,
        read,
        row,
        |revision: &Revision| revision.number,
        closing,
    )
    .await
}

async fn commands(
    visitor: &Visitor,
    asked: Asked,
    closing: watch::Receiver<bool>,
) -> Result<Response, ApiError> {
    let device = visitor
        .device(asked.device.as_deref().unwrap_or_default())
        .await?;
    let (scope, store) = (device.scope(), device.services().store.clone());
    let read = move |before| {
        let store = store.clone();
        let query = CommandQuery {
            status: None,
            before,
            limit: PART,
        };
        async move { store.commands(scope, &query).await }
    };
    let row = |csv: &mut Csv, command: &CommandRecord| {
        csv.row(&[
            &command.id.to_string(),
            &command.cmd_type,
            command.values.get(),
            command.status.as_str(),
            command.detail.as_deref().unwrap_or_default(),
            &iso(command.created),
            &optional(command.sent),
            &optional(command.delivered),
            &iso(command.changed),
        ]);
    };
    let columns = [
        "id",
        "type",
        "values",
        "status",
        "detail",
        "created",
        "sent",
        "delivered",
        "changed",
    ];
    let place = |command: &CommandRecord| (command.created, command.id);
    listed("commands.csv", &columns, read, row, place, closing).await
}

async fn messages(
    visitor: &Visitor,
    asked: Asked,
    closing: watch::Receiver<bool>,
) -> Result<Response, ApiError> {
    let device = visitor
        .device(asked.device.as_deref().unwrap_or_default())
        .await?;
    let text = asked.filter.as_deref().unwrap_or_default().trim().to_owned();
    let (scope, services) = (device.scope(), device.services().clone());
    let next = move |before: Option<String>| {
        let (services, text) = (services.clone(), text.clone());
        async move {
            let page = api::Page {
                limit: PART,
                filter: Some(text.as_str()).filter(|text| !text.is_empty()),
                before: before.as_deref(),
            };
            let found = api::page(&services, scope, &page).await?;
            let mut csv = Csv::default();
            for message in &found.messages {
                csv.row(&[
                    &iso(message.timestamp),
                    &iso(message.device_timestamp),
                    message.kind.as_str(),
                    message.channel.as_deref().unwrap_or_default(),
                    message.payload.get(),
                ]);
            }
            Ok((csv, found.next.map(Some)))
        }
    };
    let columns = ["time", "device_time", "type", "channel", "payload"];
    streamed("messages.csv", &columns, (None, next), closing).await
}
