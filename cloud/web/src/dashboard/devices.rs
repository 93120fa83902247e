//! The list of a project's devices, with a filter in the address.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use iottly_core::model::{Device, Group, UnixMs};
use iottly_core::short_form::DEVICES;
use iottly_protocol::{DeviceId, FirmwareReport, FirmwareState, GroupId};
use iottly_store::DevicePlace;
use maud::{Markup, html};
use serde::Deserialize;
use tokio::sync::watch;

use super::kit::csv::csv_link;
use super::kit::empty::{broken, empty, nothing_matches};
use super::kit::filter::{Chip, FilterBox, chips, filter_box};
use super::kit::icons::{Icon, icon};
use super::kit::presence::shown;
use super::kit::script::{script, word};
use super::layout::failure;
use super::shell::{Screen, Section};
use super::visitor::Visitor;
use super::{bulk, copies, text};
use crate::api::DeviceFilter;
use crate::api::device_list::{self, DeviceList};
use crate::api::latest::{Columns, Shown};
use crate::app::App;
use crate::auth::ProjectAccess;
use crate::csv::{Csv, streamed};
use crate::error::ApiError;
use iottly_cloud::{PresenceCounts, PresenceService, clock};

/// Number of devices of a page.
const ROWS: usize = 50;

/// Maximum number of paths that the field of columns offers.
const OFFERED: usize = 100;

/// Number of devices of a part of a file.
const PART: usize = 500;

/// Query of the page.
#[derive(Deserialize)]
pub(super) struct Asked {
    filter: Option<String>,
    /// Place of the last device of the page before.
    after: Option<String>,
    /// Paths of latest values to show, separated by commas.
    columns: Option<String>,
    /// `csv` for all matching devices as a file.
    format: Option<String>,
}

impl Asked {
    fn columns(&self) -> Result<Columns, ApiError> {
        Columns::of(self.columns.as_deref().unwrap_or_default())
    }
}

pub(super) async fn list(visitor: Visitor, State(app): State<App>, Query(asked): Query<Asked>) -> Response {
    let shown = if asked.format.as_deref() == Some("csv") {
        file(&visitor, &asked, app.closing).await
    } else {
        page(&visitor, &asked).await
    };
    shown.unwrap_or_else(|error| failure(&error))
}

/// Returns all matching devices as comma-separated values; without a filter they are read in parts while the client takes
/// them.
async fn file(
    visitor: &Visitor,
    asked: &Asked,
    closing: watch::Receiver<bool>,
) -> Result<Response, ApiError> {
    const COLUMNS: [&str; 6] = ["id", "name", "group", "presence", "agent", "tags"];
    let access = visitor.project.clone();
    let columns = asked.columns()?;
    let mut names = COLUMNS.to_vec();
    names.extend(columns.paths().iter().map(String::as_str));
    let text = asked.filter.as_deref().unwrap_or_default().trim();
    let groups = Arc::new(access.groups().await?);
    if !text.is_empty() {
        let mut table = Csv::new(&names);
        let devices = DeviceFilter::of(&access, text).await?.matching(&access).await?;
        let values = columns.read(&access, ids(&devices)).await?;
        for device in &devices {
            let presence = &access.services().presence;
            csv_row(&mut table, device, (&groups, presence), (&columns, &values));
        }
        return Ok(table.into_file("devices.csv"));
    }
    let shown = columns.clone();
    let next = move |after: Option<DevicePlace>| {
        let (access, groups, columns) = (access.clone(), Arc::clone(&groups), shown.clone());
        async move {
            let services = access.services();
            let devices = services
                .store
                .device_page(access.id(), after.as_ref(), PART)
                .await?;
            let mut table = Csv::default();
            let values = columns.read(&access, ids(&devices)).await?;
            for device in &devices {
                csv_row(
                    &mut table,
                    device,
                    (&groups, &services.presence),
                    (&columns, &values),
                );
            }
            let last = devices.last().filter(|_| devices.len() == PART);
            Ok((table, last.map(|last| Some(DevicePlace::of(last)))))
        }
    };
    streamed("devices.csv", &names, (None, next), closing).await
}

fn ids(devices: &[Device]) -> impl Iterator<Item = DeviceId> {
    devices.iter().map(|device| device.scope.device)
}

fn csv_row(
    table: &mut Csv,
    device: &Device,
    (groups, presence): (&[Group], &PresenceService),
    (columns, values): (&Columns, &Shown),
) {
    let id = device.scope.device;
    let mut row = vec![
        id.to_string(),
        device.name.clone(),
        group_name(groups, device.group).to_owned(),
        presence.view(device).shown.as_str().to_owned(),
        device.agent_version.clone().unwrap_or_default(),
        device.tags.join(" "),
    ];
    row.extend((0..columns.paths().len()).map(|place| {
        let value = values.value(id, place);
        value.map(|(value, _)| value.to_string()).unwrap_or_default()
    }));
    table.row(&row.iter().map(String::as_str).collect::<Vec<_>>());
}

async fn page(visitor: &Visitor, asked: &Asked) -> Result<Response, ApiError> {
    let (access, base, now) = (&visitor.project, visitor.base(), clock::now());
    let text = asked.filter.as_deref().unwrap_or_default().trim();
    let presence = &access.services().presence;
    // Parts that cannot be read leave the others.
    let groups = access.groups().await.unwrap_or_default();
    let counts = presence.counts(access.id()).await.map_err(ApiError::from);
    let copies = copies::of(access).await;
    let after = asked.after.as_deref().map(device_list::place);
    let columns = asked.columns()?;
    let rest = match columns.text() {
        text if text.is_empty() => String::new(),
        text => format!("&columns={}", text::escaped(&text)),
    };
    // Without the names of values the field is as it is.
    let series = access.services().store.series(access.id()).await;
    let paths = series.map(|series| series.paths).unwrap_or_default();
    let paths: Vec<_> = paths
        .into_iter()
        .map(|series| series.path)
        .take(OFFERED)
        .collect();
    let (page, json, problem) = match rows(access, text, after.as_ref()).await {
        Ok((page, json)) => (Some(page), json, None),
        Err(error) => (None, None, Some(error)),
    };
    let (problem, failed) = match problem {
        Some(error) if error.status().is_server_error() => (None, Some(error)),
        problem => (problem, None),
    };
    let total = counts.as_ref().map_or(0, |counts| counts.total);
    let matching = page.as_ref().map_or(0, |page| page.matching.unwrap_or(total));
    let rows = page.as_ref().map_or(&[][..], |page| page.devices.as_slice());
    let values = columns.read(access, ids(rows)).await.unwrap_or_default();
    let listed: Vec<String> = rows
        .iter()
        .map(|device| device.scope.device.to_string())
        .collect();
    let list = format!("{base}/devices");
    let found =
        html! { @if failed.is_none() && counts.is_ok() { b { (matching) " of " (total) " devices" } } };
    let content = html! {
        div.head {
            div { h1 { "Devices " @if counts.is_ok() { span.count { (total) } } } }
            div.actions {
                (csv_link(&format!("{list}?format=csv&filter={}{rest}", text::escaped(text)), "devices.csv"))
                a.button data-kind="main" href={ (list) "/add" } { (icon(Icon::Add)) "Add devices" }
            }
        }
        @match &copies {
            Ok(copies) => (copies::panel(copies, visitor)),
            Err(error) => section.card data-flush { (broken("Boards with the same keys could not be read", error.message())) },
        }
        (filter_box("devices", &FilterBox {
            action: &list,
            text,
            placeholder: "group:demo temp>30 offline>1h",
            result: found,
            json: json.as_deref(),
            problem: problem.as_ref().map(ApiError::message),
            examples: DEVICES.suggestions("").collect(),
            more: column_field(&columns, &paths),
        }))
        @if let Ok(counts) = &counts { (chips(&list, (text, &rest), &offered(counts, access.services().enroll_offer.get().is_some()))) }
        form.card data-flush method="post" action={ (list) "/move" } {
            @if let Some(error) = &failed {
                (broken("The devices could not be read", error.message()))
            } @else if counts.is_ok() && total == 0 {
                (empty("No devices yet", "A device sends messages and runs your code. Install the agent on a board, or start simulated devices.",
                    &html! { a.button data-kind="main" href={ (list) "/add" } { "Add devices" } }))
            } @else if rows.is_empty() {
                (nothing_matches("device", text, total, &list))
            } @else {
                (bulk::bar(visitor, &groups, text, matching))
                (table(rows, (&groups, presence), (&columns, &values), &base, now))
                @if let Some(page) = &page { (foot(page, matching, &list, (text, &rest))) }
            }
        }
        (script(&command_line(text, &columns), ("GET", &format!("/devices/props?filter={}{rest}", text::escaped(text)), None)))
    };
    let screen = Screen {
        section: Section::Devices,
        title: "Devices",
        crumbs: &[],
        events: Some(format!(
            "{base}/events?messages=none&devices={}",
            listed.join(",")
        )),
        scripts: &["presence.js", "selection.js", "suggest.js"],
        content,
    };
    screen.respond(visitor).await
}

fn command_line(text: &str, columns: &Columns) -> String {
    let mut line = "iottly device list".to_owned();
    if !text.is_empty() {
        line += &format!(" --filter {}", word(text));
    }
    if !columns.paths().is_empty() {
        line += &format!(" --columns {}", word(&columns.text()));
    }
    line
}

/// Returns the field for the latest values that the list shows.
fn column_field(columns: &Columns, paths: &[String]) -> Markup {
    html! {
        div.columns {
            label for="columns" { "Values as columns" }
            input #columns name="columns" value=(columns.text()) placeholder="temp, door" autocomplete="off" spellcheck="false" list="columns-known";
            datalist #columns-known { @for path in paths { option value=(path) {} } }
        }
    }
}

/// Returns a page of the devices that match a filter, and the filter of the API.
async fn rows(
    access: &ProjectAccess,
    text: &str,
    after: Option<&DevicePlace>,
) -> Result<(DeviceList, Option<String>), ApiError> {
    if text.is_empty() {
        return Ok((DeviceList::all(access, after, ROWS).await?, None));
    }
    let filter = DeviceFilter::of(access, text).await?;
    let json = filter.json.clone();
    Ok((
        DeviceList::filtered(access, filter, after, ROWS).await?,
        Some(json),
    ))
}

/// Returns the filters that a click chooses; that of devices without a key only if the cloud offers them one.
fn offered(counts: &PresenceCounts, offers_keys: bool) -> Vec<Chip<'static>> {
    let chip = |name, filter, count| Chip { name, filter, count };
    let mut chips = vec![
        chip("All", "", counts.total),
        chip("online", "presence:online", counts.online),
        chip("silent", "presence:silent", counts.silent),
        chip("offline", "presence:offline", counts.offline),
        chip("absent", "presence:absent", counts.absent),
        chip("firmware stopped", "firmware:quarantined", counts.quarantined),
    ];
    if offers_keys {
        chips.push(chip("legacy login", "legacy:true", counts.legacy));
    }
    chips
}

fn foot(page: &DeviceList, matching: usize, list: &str, (text, rest): (&str, &str)) -> Markup {
    let with = |after: Option<&DevicePlace>| {
        let filter = format!("{list}?filter={}{rest}", text::escaped(text));
        after.map_or(filter.clone(), |after| {
            format!("{filter}&after={}", text::escaped(&device_list::written(after)))
        })
    };
    let (start, end) = (page.start, page.start + page.devices.len());
    html! {
        div.card-foot {
            span { (start + 1) " to " (end) " of " (matching) }
            span.actions {
                @if start > 0 { a.button data-size="s" href=(with(None)) { "First" } }
                @if let Some(next) = &page.next { a.button data-size="s" href=(with(Some(next))) rel="next" { "Next" } }
            }
        }
    }
}

fn table(
    rows: &[Device],
    (groups, presence): (&[Group], &PresenceService),
    (columns, values): (&Columns, &Shown),
    base: &str,
    now: UnixMs,
) -> Markup {
    html! {
        table.table data-rows="link" {
            caption.sr { "Devices, sorted by name" }
            thead { tr {
                th.check { input type="checkbox" data-select-all aria-label="Select this page" hidden; }
                th aria-sort="ascending" { "Name" } th { "Presence" }
                @for path in columns.paths() { th.num.break { (path) } }
                th.p2 { "Group" } th.p2 { "Firmware" } th.p3 { "Agent" }
            } }
            tbody { @for device in rows { tr data-device=(device.scope.device) {
                td.check { input type="checkbox" name="device" value=(device.scope.device) aria-label={ "Select " (device.name) }; }
                td { a.row-link href={ (base) "/devices/" (device.scope.device) } { (device.name) } span.sub.only-phone { (group_name(groups, device.group)) } }
                td { (shown(device, &presence.view(device), now)) }
                @for place in 0..columns.paths().len() {
                    td.num.break { @match values.value(device.scope.device, place) {
                        Some((value, at)) => span title={ "at " (text::iso(*at)) } { (value) },
                        None => span.soft { "–" },
                    } }
                }
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
