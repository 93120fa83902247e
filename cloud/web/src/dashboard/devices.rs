//! The list of a project's devices, with a filter in the address.

use axum::extract::Query;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use iottly_core::model::{Device, Group, UnixMs};
use iottly_core::short_form::DEVICES;
use iottly_protocol::{FirmwareReport, FirmwareState, GroupId};
use maud::{Markup, html};
use serde::Deserialize;

use super::kit::empty::{empty, nothing_matches};
use super::kit::filter::{Chip, FilterBox, chips, filter_box};
use super::kit::icons::{Icon, icon};
use super::kit::presence::shown;
use super::kit::script::script;
use super::layout::failure;
use super::shell::{Screen, Section};
use super::visitor::Visitor;
use super::{bulk, copies, text};
use crate::api::DeviceFilter;
use crate::auth::ProjectAccess;
use crate::csv::Csv;
use crate::error::ApiError;
use iottly_cloud::{PresenceService, clock};

/// Number of devices of a page.
const ROWS: usize = 50;

/// Query of the page.
#[derive(Deserialize)]
pub(super) struct Asked {
    filter: Option<String>,
    /// Name of the last device of the page before.
    after: Option<String>,
    /// `csv` for all matching devices as a file.
    format: Option<String>,
}

pub(super) async fn list(visitor: Visitor, Query(asked): Query<Asked>) -> Response {
    let shown = if asked.format.as_deref() == Some("csv") {
        file(&visitor, &asked).await
    } else {
        page(&visitor, &asked).await
    };
    shown.unwrap_or_else(|error| failure(&error))
}

/// Returns all matching devices as comma-separated values.
async fn file(visitor: &Visitor, asked: &Asked) -> Result<Response, ApiError> {
    let (access, text) = (
        &visitor.project,
        asked.filter.as_deref().unwrap_or_default().trim(),
    );
    let groups = access.groups().await?;
    let (devices, _) = filtered(access, text, access.devices().await?).await?;
    let mut table = Csv::new(&["id", "name", "group", "presence", "agent", "tags"]);
    for device in &devices {
        let (id, tags) = (device.scope.device.to_string(), device.tags.join(" "));
        let fields = [
            id.as_str(),
            &device.name,
            group_name(&groups, device.group),
            access.services().presence.view(device).shown.as_str(),
            device.agent_version.as_deref().unwrap_or_default(),
            tags.as_str(),
        ];
        table.row(&fields);
    }
    let name = "attachment; filename=\"devices.csv\"";
    Ok(([(header::CONTENT_DISPOSITION, name)], table).into_response())
}

async fn page(visitor: &Visitor, asked: &Asked) -> Result<Response, ApiError> {
    let (access, base, now) = (&visitor.project, visitor.base(), clock::now());
    let text = asked.filter.as_deref().unwrap_or_default().trim();
    let (groups, devices) = (access.groups().await?, access.devices().await?);
    let presence = &access.services().presence;
    let counts = counts(&devices, presence);
    let total = devices.len();
    let (matching, json, problem) = match filtered(access, text, devices).await {
        Ok((matching, json)) => (matching, json, None),
        Err(error) if error.status().is_client_error() => (Vec::new(), None, Some(error)),
        Err(error) => return Err(error),
    };
    let start = asked.after.as_ref().map_or(0, |after| {
        matching.partition_point(|device| place(device) <= after.as_str())
    });
    let rows = matching
        .get(start..(start + ROWS).min(matching.len()))
        .unwrap_or_default();
    let listed: Vec<String> = rows
        .iter()
        .map(|device| device.scope.device.to_string())
        .collect();
    let list = format!("{base}/devices");
    let found = html! { b { (matching.len()) " of " (total) " devices" } };
    let content = html! {
        div.head {
            div { h1 { "Devices " span.count { (total) } } }
            div.actions {
                a.button href={ (list) "?format=csv&filter=" (text::escaped(text)) } { (icon(Icon::Download)) "CSV" }
                a.button data-kind="main" href={ (list) "/add" } { (icon(Icon::Add)) "Add devices" }
            }
        }
        (copies::panel(&copies::of(access).await?, &base))
        (filter_box(&FilterBox {
            action: &list,
            text,
            placeholder: "group:demo offline>1h",
            result: found,
            json: json.as_deref(),
            problem: problem.as_ref().map(ApiError::message),
            examples: DEVICES.suggestions("").collect(),
        }))
        (chips(&list, text, &counts))
        form.card data-flush method="post" action={ (list) "/move" } {
            @if total == 0 {
                (empty("No devices yet", "A device sends messages and runs your code. Install the agent on a board, or start simulated devices.",
                    &html! { a.button data-kind="main" href={ (list) "/add" } { "Add devices" } }))
            } @else if matching.is_empty() {
                (nothing_matches("device", text, total, &list))
            } @else {
                (bulk::bar(visitor, &groups, text, matching.len()))
                (table(rows, (&groups, presence), &base, now))
                (foot(rows, start, matching.len(), &list, text))
            }
        }
        (script(&command_line(text), ("GET", &format!("/devices/props?filter={}", text::escaped(text)), None)))
    };
    let screen = Screen {
        section: Section::Devices,
        title: "Devices",
        crumbs: &[],
        events: Some(format!("{base}/events?devices={}", listed.join(","))),
        scripts: &["presence.js", "selection.js"],
        content,
    };
    screen.respond(visitor).await
}

fn command_line(text: &str) -> String {
    if text.is_empty() {
        "iottly device list".to_owned()
    } else {
        format!("iottly device list --filter '{}'", text.replace('\'', "'\\''"))
    }
}

/// Returns the devices that match a filter, and the filter of the API.
async fn filtered(
    access: &ProjectAccess,
    text: &str,
    devices: Vec<Device>,
) -> Result<(Vec<Device>, Option<String>), ApiError> {
    if text.is_empty() {
        return Ok((devices, None));
    }
    let filter = DeviceFilter::of(access, text).await?;
    let json = filter.json.clone();
    Ok((filter.select(devices).await?, Some(json)))
}

/// Returns the place of a device in the order of the list.
fn place(device: &Device) -> &str {
    &device.name
}

fn counts(devices: &[Device], presence: &PresenceService) -> [Chip<'static>; 7] {
    let count = |wanted: fn(&Device) -> bool| devices.iter().filter(|device| wanted(device)).count();
    let state = |wanted: &str| {
        let is = |device: &&Device| presence.view(device).shown.as_str() == wanted;
        devices.iter().filter(is).count()
    };
    let chip = |name, filter, count| Chip { name, filter, count };
    let quarantined = |device: &Device| {
        let report = device.firmware.as_ref();
        report.is_some_and(|report| report.state == FirmwareState::Quarantined)
    };
    [
        chip("All", "", devices.len()),
        chip("online", "presence:online", state("online")),
        chip("silent", "presence:silent", state("silent")),
        chip("offline", "presence:offline", state("offline")),
        chip("absent", "presence:absent", state("absent")),
        chip("firmware stopped", "firmware:quarantined", count(quarantined)),
        chip("legacy login", "legacy:true", count(|device| device.legacy)),
    ]
}

fn foot(rows: &[Device], start: usize, matching: usize, list: &str, text: &str) -> Markup {
    let with = |after: Option<&str>| {
        let filter = format!("{list}?filter={}", text::escaped(text));
        after.map_or(filter.clone(), |after| {
            format!("{filter}&after={}", text::escaped(after))
        })
    };
    let end = start + rows.len();
    html! {
        div.card-foot {
            span { (start + 1) " to " (end) " of " (matching) }
            span.actions {
                @if start > 0 { a.button data-size="s" href=(with(None)) { "First" } }
                @if end < matching && let Some(last) = rows.last() {
                    a.button data-size="s" href=(with(Some(place(last)))) rel="next" { "Next" }
                }
            }
        }
    }
}

fn table(
    rows: &[Device],
    (groups, presence): (&[Group], &PresenceService),
    base: &str,
    now: UnixMs,
) -> Markup {
    html! {
        table.table data-rows="link" {
            caption.sr { "Devices, sorted by name" }
            thead { tr {
                th.check { input type="checkbox" data-select-all aria-label="Select this page" hidden; }
                th aria-sort="ascending" { "Name" } th { "Presence" } th.p2 { "Group" } th.p2 { "Firmware" } th.p3 { "Agent" }
            } }
            tbody { @for device in rows { tr data-device=(device.scope.device) {
                td.check { input type="checkbox" name="device" value=(device.scope.device) aria-label={ "Select " (device.name) }; }
                td { a.row-link href={ (base) "/devices/" (device.scope.device) } { (device.name) } span.sub.only-phone { (group_name(groups, device.group)) } }
                td { (shown(device, &presence.view(device), now)) }
                td.p2.break { (group_name(groups, device.group)) }
                td.p2 { (firmware(device.firmware.as_ref())) }
                td.p3.soft { (device.agent_version.as_deref().unwrap_or("–")) }
            } } }
        }
    }
}

/// Returns the state of a device's firmware.
pub(super) fn firmware(report: Option<&FirmwareReport>) -> Markup {
    let (word, tone) = match report.map(|report| report.state) {
        None => ("none reported", "idle"),
        Some(FirmwareState::Running) => ("running", "good"),
        Some(FirmwareState::Restarting) => ("restarting", "warn"),
        Some(FirmwareState::Quarantined) => ("stopped after failing too often", "bad"),
        Some(FirmwareState::Stopped) => ("stopped", "idle"),
    };
    html! { span.tag data-tone=(tone) { (word) } }
}

pub(super) fn group_name(groups: &[Group], id: GroupId) -> &str {
    groups
        .iter()
        .find(|group| group.id == id)
        .map_or("–", |group| group.name.as_str())
}
