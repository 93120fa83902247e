//! The list of a project's devices, with a filter in the address.

use axum::extract::Query;
use axum::response::Response;
use iottly_core::model::{Device, Group, UnixMs};
use iottly_protocol::{FirmwareReport, FirmwareState, GroupId};
use maud::{Markup, html};
use serde::Deserialize;

use super::kit::empty::{empty, nothing_matches};
use super::kit::presence::presence;
use super::layout::failure;
use super::shell::{Screen, Section};
use super::visitor::Visitor;
use super::{copies, text};
use crate::error::ApiError;
use iottly_cloud::clock;

/// Number of devices of a page.
const ROWS: usize = 50;

/// What a list shows.
#[derive(Deserialize)]
pub(super) struct Asked {
    filter: Option<String>,
    /// Name of the last device of the page before.
    after: Option<String>,
}

pub(super) async fn list(visitor: Visitor, Query(asked): Query<Asked>) -> Response {
    page(&visitor, &asked)
        .await
        .unwrap_or_else(|error| failure(&error))
}

async fn page(visitor: &Visitor, asked: &Asked) -> Result<Response, ApiError> {
    let (access, base, now) = (&visitor.project, visitor.base(), clock::now());
    let (groups, devices) = (access.groups().await?, access.devices().await?);
    let filter = asked.filter.as_deref().unwrap_or_default().trim().to_lowercase();
    let total = devices.len();
    let matching: Vec<&Device> = devices
        .iter()
        .filter(|device| device.name.to_lowercase().contains(&filter))
        .collect();
    let start = asked.after.as_ref().map_or(0, |after| {
        matching.partition_point(|device| device.name <= *after)
    });
    let rows: Vec<&Device> = matching[start..].iter().take(ROWS).copied().collect();
    let shown: Vec<String> = rows
        .iter()
        .map(|device| device.scope.device.to_string())
        .collect();
    let content = html! {
        div.head {
            div { h1 { "Devices " span.count { (total) } } }
            div.actions {
                a.button href="/enroll" { "Approve a board" }
            }
        }
        (copies::panel(&copies::of(access).await?, &base))
        section.card data-flush {
            @if total == 0 {
                (empty("No devices yet", "A device sends messages and runs your code.", &html! {}))
            } @else if matching.is_empty() {
                (nothing_matches("device", &filter, total, &format!("{base}/devices")))
            } @else {
                (table(&rows, &groups, &base, now))
            }
        }
    };
    let screen = Screen {
        section: Section::Devices,
        title: "Devices",
        crumbs: &[],
        events: Some(format!("{base}/events?devices={}", shown.join(","))),
        scripts: &["presence.js"],
        content,
    };
    screen.respond(visitor).await
}

fn table(rows: &[&Device], groups: &[Group], base: &str, now: UnixMs) -> Markup {
    html! {
        table.table data-rows="link" {
            caption.sr { "Devices, sorted by name" }
            thead { tr { th aria-sort="ascending" { "Name" } th { "Presence" } th.p2 { "Group" } th.p2 { "Firmware" } th.p3 { "Agent" } } }
            tbody { @for device in rows { tr data-device=(device.scope.device) {
                td { a.row-link href={ (base) "/devices/" (device.scope.device) } { (device.name) } span.sub.only-phone { (group_name(groups, device.group)) } }
                td { (presence(device, now)) }
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

/// Returns the time of an event as a part of a sentence.
pub(super) fn since(at: UnixMs, now: UnixMs) -> Markup {
    html! { time datetime=(text::iso(at)) { (text::ago(at, now)) " ago" } }
}
