//! Pages with the project's devices, and with one device.

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use iottly_protocol::{CommandId, FirmwareReport, FirmwareState, GroupId};
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::{IntoHtml, Page, failure};
use super::visitor::{Refusal, Visitor};
use super::{commands, copies, enroll, events, login, person, text};
use crate::api;
use crate::app::App;
use crate::auth::{DeviceAccess, ProjectAccess};
use crate::error::ApiError;
use iottly_cloud::clock;
use iottly_core::model::{Device, Group, StoredLog, StoredMessage, UnixMs};

/// Numbers of history entries and log lines on a device's page.
const MESSAGES: usize = 50;
const LOG_LINES: usize = 50;

pub(super) async fn overview(
    visitor: Result<Visitor, Refusal>,
    State(app): State<App>,
    headers: HeaderMap,
) -> Response {
    if visitor.is_ok()
        && let Some(redirect) = enroll::after_login(&headers, app.services.https)
    {
        return redirect;
    }
    match visitor {
        Ok(visitor) => overview_page(&visitor.project)
            .await
            .unwrap_or_else(|error| failure(&error)),
        Err(Refusal::LoggedOut) => login::form(&app, None),
        Err(Refusal::NoProject(session)) => person::no_project(&session),
        Err(refusal) => refusal.into_response(),
    }
}

async fn overview_page(access: &ProjectAccess) -> Result<Response, ApiError> {
    let (project, groups, devices) = (
        access.project().await?,
        access.groups().await?,
        access.devices().await?,
    );
    let online = devices.iter().filter(|device| device.online).count();
    let now = clock::now();
    let content = html! {
        div.heading {
            h1 { "Devices" }
            p.muted { span #online-count { (online) } " of " (devices.len()) " online" }
            a href="/enroll" { "Approve a board" }
        }
        (copies::panel(&copies::of(access).await?))
        @if devices.is_empty() {
            section.card { p { "This project has no devices yet." } }
        }
        ul.devices {
            @for device in &devices { (card(device, group_name(&groups, device.group), now)) }
        }
        (feed(&[], "Messages of all devices", "Messages appear here as devices send them.", true))
    };
    let page = Page {
        title: "Devices",
        project: Some(&project.name),
        events: Some("/ui/events"),
        content,
    };
    Ok(page.render().into_response_html())
}

fn card(device: &Device, group: &str, now: UnixMs) -> Markup {
    html! {
        li.card data-device=(device.scope.device) {
            a.cover href={ "/devices/" (device.scope.device) } { h2 { (device.name) } }
            (presence(device, now))
            dl.facts {
                dt { "Firmware" } dd { (firmware(device.firmware.as_ref())) }
                dt { "Group" } dd { (group) }
            }
        }
    }
}

/// Id of the command that was sent from the page.
#[derive(Deserialize)]
pub(super) struct Notice {
    sent: Option<String>,
}

pub(super) async fn device(
    visitor: Visitor,
    Path(id): Path<String>,
    Query(notice): Query<Notice>,
) -> Response {
    let access = match visitor.project.into_device(&id).await {
        Ok(access) => access,
        Err(error) => return failure(&error),
    };
    let sent = notice.sent.filter(|id| id.parse::<CommandId>().is_ok());
    match device_page(&access, sent.as_deref(), None).await {
        Ok(page) => page.into_response_html(),
        Err(error) => failure(&error),
    }
}

/// Returns the page of a device after an invalid command form.
pub(super) async fn page_with_problem(access: &DeviceAccess, problem: &str) -> Result<Response, ApiError> {
    let page = device_page(access, None, Some(problem)).await?;
    Ok((StatusCode::BAD_REQUEST, page.into_response_html()).into_response())
}

async fn device_page(
    access: &DeviceAccess,
    sent: Option<&str>,
    problem: Option<&str>,
) -> Result<Markup, ApiError> {
    let (device, store) = (access.device(), access.services().store.as_ref());
    let (project, groups) = (
        access.project().project().await?,
        access.project().groups().await?,
    );
    let definitions = access.project().definitions().await?;
    let asked = api::Page {
        limit: MESSAGES,
        filter: None,
        before: None,
    };
    let messages = api::page(access.services(), access.scope(), &asked)
        .await?
        .messages;
    let logs = store.logs(access.scope(), LOG_LINES).await?;
    let newest = messages.first().map(events::event_id).unwrap_or_default();
    let events = format!("/ui/events?device={}&after={newest}", device.scope.device);
    let content = html! {
        p.crumbs { a href="/" { "Devices" } " / " (device.name) }
        div.heading { h1 { (device.name) } (presence(device, clock::now())) }
        section.card { (facts(device, group_name(&groups, device.group))) }
        div.columns {
            (feed(&messages, "Messages", "This device has sent nothing yet.", false))
            div.stack {
                (commands::panel(device.scope.device, &definitions, sent, problem))
                (log_panel(&logs))
            }
        }
    };
    Ok(Page {
        title: &device.name,
        project: Some(&project.name),
        events: Some(&events),
        content,
    }
    .render())
}

fn facts(device: &Device, group: &str) -> Markup {
    let or_dash = |text: &str| {
        if text.is_empty() {
            "–".to_owned()
        } else {
            text.to_owned()
        }
    };
    html! {
        dl.facts.wide {
            dt { "Id" } dd { code { (device.scope.device) } }
            dt { "Firmware" } dd { (firmware(device.firmware.as_ref())) }
            @if let Some(report) = &device.firmware {
                dt { "Digest" } dd { code { (or_dash(report.digest.get(..16).unwrap_or(&report.digest))) } }
                @if let Some(detail) = &report.detail { dt { "Detail" } dd { (detail) } }
            }
            dt { "Group" } dd { (group) }
            dt { "Agent" } dd { (or_dash(device.agent_version.as_deref().unwrap_or_default())) }
            dt { "MAC" } dd { (or_dash(device.mac_address.as_deref().unwrap_or_default())) }
        }
    }
}

fn presence(device: &Device, now: UnixMs) -> Markup {
    let word = if device.online { "online" } else { "offline" };
    html! {
        p.presence data-presence=(device.scope.device) data-state=(word) {
            span.dot aria-hidden="true" {}
            span.word { (word) }
            @if let Some(since) = device.online_since {
                span.muted { "for " time datetime=(text::iso(since)) { (text::ago(since, now)) } }
            }
        }
    }
}

fn firmware(report: Option<&FirmwareReport>) -> Markup {
    let (word, tone) = match report.map(|report| report.state) {
        None => ("none reported", "idle"),
        Some(FirmwareState::Running) => ("running", "good"),
        Some(FirmwareState::Restarting) => ("restarting", "warn"),
        Some(FirmwareState::Quarantined) => ("stopped after failing too often", "bad"),
        Some(FirmwareState::Stopped) => ("stopped", "idle"),
    };
    html! { span.tag data-tone=(tone) { (word) } }
}

fn feed(messages: &[StoredMessage], title: &str, empty: &str, with_device: bool) -> Markup {
    html! {
        section.card.feed aria-labelledby="feed-title" {
            div.heading { h2 #feed-title { (title) } span.muted { "newest first, times in UTC" } }
            live-feed data-with-device=[with_device.then_some("yes")] {
                p.skipped role="status" hidden {}
                ol.messages { @for message in messages { (row(message)) } }
                @if messages.is_empty() { p.muted.empty { (empty) } }
            }
        }
    }
}

fn row(message: &StoredMessage) -> Markup {
    html! {
        li data-kind=(message.kind.as_str()) {
            time datetime=(text::iso(message.timestamp)) { (text::clock(message.timestamp)) }
            span.kind { (message.kind.as_str()) }
            @if let Some(channel) = &message.channel { span.channel { (channel) } }
            code { (text::payload(message.payload.get())) }
        }
    }
}

fn log_panel(logs: &[StoredLog]) -> Markup {
    html! {
        section.card {
            h2 { "Log" }
            @if logs.is_empty() { p.muted { "The firmware has logged nothing." } }
            ol.log {
                @for log in logs {
                    li data-level=(level(log)) {
                        time datetime=(text::iso(log.device_timestamp)) { (text::clock(log.device_timestamp)) }
                        span.level { (level(log)) }
                        span { (log.text) }
                    }
                }
            }
        }
    }
}

fn level(log: &StoredLog) -> &'static str {
    use iottly_protocol::Level;
    match log.level {
        Level::Trace => "trace",
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}

fn group_name(groups: &[Group], id: GroupId) -> &str {
    groups
        .iter()
        .find(|group| group.id == id)
        .map_or("–", |group| group.name.as_str())
}
