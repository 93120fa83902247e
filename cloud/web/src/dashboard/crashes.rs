//! Failures of firmware in a project, grouped by release and place. Reads a bounded part of the histories.

use std::collections::BTreeMap;

use axum::response::Response;
use iottly_core::model::UnixMs;
use iottly_protocol::{DeviceId, MessageKind};
use iottly_store::PageQuery;
use maud::{Markup, html};
use serde::Deserialize;

use super::kit::csv::csv_link;
use super::kit::empty::empty;
use super::kit::script::script;
use super::layout::failure;
use super::shell::{Screen, Section};
use super::text;
use super::visitor::Visitor;
use crate::csv::Csv;
use crate::error::ApiError;
use iottly_cloud::clock;

/// Maximum number of devices whose histories are read.
const DEVICES: usize = 100;
/// Number of the newest reports of the agent that are read of each device.
const ENTRIES: usize = 50;
/// Maximum number of groups on the page.
const GROUPS: usize = 50;

/// Release, function and error of a failure; an empty release for a failure that the firmware has survived.
type Place = (String, String, String);

#[derive(Default)]
struct Failures {
    count: usize,
    /// Ids and names of the devices.
    devices: BTreeMap<DeviceId, String>,
    last: UnixMs,
    description: String,
}

#[derive(Deserialize)]
struct Entry {
    process: Process,
}

#[derive(Deserialize)]
struct Process {
    status: Status,
    #[serde(default)]
    function: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    firmware: String,
}

#[derive(Deserialize)]
struct Status {
    error: String,
}

pub(super) async fn list(visitor: Visitor) -> Response {
    page(&visitor).await.unwrap_or_else(|error| failure(&error))
}

/// Failures of a project by place, the latest first, with the number of devices.
struct Found {
    places: Vec<(Place, Failures)>,
    devices: usize,
}

async fn find(visitor: &Visitor) -> Result<Found, ApiError> {
    let store = &visitor.project.services().store;
    let mut devices = visitor.project.devices().await?;
    let total = devices.len();
    // Those that were there last say most.
    devices.sort_by_key(|device| std::cmp::Reverse(device.online_since));
    devices.truncate(DEVICES);
    let query = PageQuery {
        kind: Some(MessageKind::IottlyAgent),
        limit: ENTRIES,
        ..PageQuery::default()
    };
    let mut places: BTreeMap<Place, Failures> = BTreeMap::new();
    for device in &devices {
        for message in store.page(device.scope, &query).await? {
            // What the cloud itself wrote is no report of an agent.
            if message.origin.is_none() {
                continue;
            }
            let Ok(Entry { process }) = serde_json::from_str::<Entry>(message.payload.get()) else {
                continue;
            };
            let place = (process.firmware, process.function, process.status.error);
            let known = places.entry(place).or_default();
            known.count += 1;
            known.devices.insert(device.scope.device, device.name.clone());
            if message.timestamp >= known.last {
                (known.last, known.description) = (message.timestamp, process.description);
            }
        }
    }
    let mut places: Vec<_> = places.into_iter().collect();
    places.sort_by_key(|(_, failures)| std::cmp::Reverse(failures.last));
    Ok(Found {
        places,
        devices: total,
    })
}

/// Returns the failures as a table to keep.
pub(super) async fn csv(visitor: &Visitor) -> Result<Csv, ApiError> {
    let mut csv = Csv::new(&[
        "function",
        "error",
        "release",
        "times",
        "devices",
        "last",
        "description",
    ]);
    for ((firmware, function, error), failures) in find(visitor).await?.places {
        let devices: Vec<_> = failures.devices.values().map(String::as_str).collect();
        csv.row(&[
            &function,
            &error,
            &firmware,
            &failures.count.to_string(),
            &devices.join(" "),
            &text::iso(failures.last),
            &failures.description,
        ]);
    }
    Ok(csv)
}

async fn page(visitor: &Visitor) -> Result<Response, ApiError> {
    let Found {
        places,
        devices: total,
    } = find(visitor).await?;
    let (base, now) = (visitor.base(), clock::now());
    let content = html! {
        div.head { div {
            h1 { "Crashes " span.count { (places.len()) } }
            p.lede { "Failures of firmware, by release and place, in the newest " (ENTRIES) " reports of each device" @if total > DEVICES { ", of the " (DEVICES) " devices that changed last of " (total) } "." }
        } div.actions { (csv_link(&format!("{base}/csv/crashes"), "crashes.csv")) } }
        section.card data-flush {
            @if places.is_empty() { (empty("No failures", "A failure of firmware is listed here with its function and its reason.", &html! {})) }
            @else { (table(&places, &base, now)) }
        }
        (script(r#"iottly history DEVICE --filter '{"payload.process.status.error":{"$exists":true}}'"#,
            ("GET", "/messages/$DEVICE?queryJson=%7B%22payload.process.status.error%22%3A%7B%22%24exists%22%3Atrue%7D%7D", None)))
    };
    let screen = Screen {
        section: Section::Crashes,
        title: "Crashes",
        crumbs: &[],
        events: None,
        scripts: &[],
        content,
    };
    screen.respond(visitor).await
}

fn table(places: &[(Place, Failures)], base: &str, now: UnixMs) -> Markup {
    html! {
        table.table data-fold {
            thead { tr { th { "Place" } th { "Release" } th.num { "Times" } th { "Devices" } th.p2 { "Last" } } }
            tbody { @for ((firmware, function, error), failures) in places.iter().take(GROUPS) { tr {
                td { b.break { (function) } " " span.tag data-tone="bad" { (error) } span.sub.break { (text::payload(&failures.description)) } }
                td { @if firmware.is_empty() { span.soft { "went on" } } @else { span.mono { (firmware.get(..8).unwrap_or(firmware)) } } }
                td.num { (failures.count) }
                td { @for (device, name) in failures.devices.iter().take(3) { a.break href={ (base) "/devices/" (device) "/logs" } { (name) } " " } @if failures.devices.len() > 3 { "and " (failures.devices.len() - 3) " more" } }
                td.p2.soft { time datetime=(text::iso(failures.last)) { (text::ago(failures.last, now)) " ago" } }
            } } }
        }
    }
}
