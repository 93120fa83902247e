//! Failures of firmware in a project, grouped by release and place.

use axum::response::Response;
use iottly_core::model::UnixMs;
use maud::{Markup, html};

use super::kit::age::ago;
use super::kit::csv::csv_link;
use super::kit::empty::{empty, part, shown};
use super::kit::script::script_for;
use super::layout::failure;
use super::revisions::Revisions;
use super::shell::{Screen, Section};
use super::text;
use super::visitor::Visitor;
use crate::api::crashes::crashes;
use crate::api::dto::CrashDto;
use crate::csv::Csv;
use crate::error::ApiError;
use iottly_cloud::clock;

pub(super) async fn list(visitor: Visitor) -> Response {
    page(&visitor).await.unwrap_or_else(|error| failure(&error))
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
    for crash in crashes(visitor.project.clone()).await?.0.crashes {
        let devices: Vec<_> = crash.devices.iter().map(|device| device.name.as_str()).collect();
        csv.row(&[
            &crash.function,
            &crash.error,
            crash.firmware.as_deref().unwrap_or_default(),
            &crash.count.to_string(),
            &devices.join(" "),
            &text::iso(crash.last.at()),
            &crash.description,
        ]);
    }
    Ok(csv)
}

async fn page(visitor: &Visitor) -> Result<Response, ApiError> {
    let found = part(crashes(visitor.project.clone()).await)?.map(|found| found.0);
    let read = found.as_ref().ok();
    let (base, now) = (visitor.base(), clock::now());
    let revisions = Revisions::of(&visitor.project).await;
    let content = html! {
        div.head { div {
            h1 { "Crashes " @if let Some(found) = read { span.count { (found.crashes.len()) } } }
            p.lede { "Failures of firmware, by release and place" @if let Some(found) = read { ", in the newest " (found.reports_of_each) " reports of each device" @if found.devices_total > found.devices_read { ", of the " (found.devices_read) " devices that changed last of " (found.devices_total) } } "." }
        } div.actions { (csv_link(&format!("{base}/csv/crashes"), "crashes.csv")) } }
        section.card data-flush {
            live-part #crash-places data-on="crash" data-least="5" { (shown(&found, "The failures could not be read", |found| html! { @let places = &found.crashes; @if places.is_empty() { (empty("No failures", "A failure of firmware is listed here with its function and its reason.", &html! {})) }
            @else { (table(places, &revisions, &base, now)) } })) }
        }
        (script_for("list", "iottly crashes", ("GET", "/crashes", None)))
        (script_for("list the failures of a device", r#"iottly history DEVICE --filter '{"payload.process.status.error":{"$exists":true}}'"#,
            ("GET", "/messages/$DEVICE?queryJson=%7B%22payload.process.status.error%22%3A%7B%22%24exists%22%3Atrue%7D%7D", None)))
    };
    let screen = Screen {
        section: Section::Crashes,
        title: "Crashes",
        crumbs: &[],
        events: Some(format!("{base}/events?messages=none&quiet=1")),
        scripts: &[],
        content,
    };
    screen.respond(visitor).await
}

fn table(places: &[CrashDto], revisions: &Revisions, base: &str, now: UnixMs) -> Markup {
    html! {
        table.table data-fold {
            thead { tr { th { "Place" } th { "Release" } th.num { "Times" } th { "Devices" } th.p2 { "Last" } } }
            tbody { @for place in places { tr {
                td { b.break { (place.function) } " " span.tag data-tone="bad" { (place.error) } span.sub.break { (text::payload(&place.description)) } }
                td { @match &place.firmware { None => span.soft { "went on" }, Some(firmware) => {
                    @if let Some(name) = revisions.name(firmware) { b.mono { (name) } " " }
                    span.mono.soft { (firmware.get(..8).unwrap_or(firmware)) }
                } } }
                td.num { (place.count) }
                td { @for device in place.devices.iter().take(3) { a.break href={ (base) "/devices/" (device.device) "/logs" } { (device.name) } " " } @if place.devices.len() > 3 { "and " (place.devices.len() - 3) " more" } }
                td.p2.soft { (ago(place.last.at(), now)) " ago" }
            } } }
        }
    }
}
