//! Screens of one device: the frame that they share, and one file for each tab.

mod absence;
pub(super) mod board;
pub(super) mod commands;
mod health;
pub(super) mod history;
pub(super) mod live;
pub(super) mod logs;
pub(super) mod settings;
pub(super) mod timeline;

use axum::response::Response;
use iottly_core::model::{Device, Group};
use iottly_core::presence::View;
use maud::{Markup, html};

use super::devices::{firmware, group_name};
use super::kit::presence::{proof, shown};
use super::kit::refusal::refusal;
use super::revisions::Revisions;
use super::shell::{Screen, Section};
use super::visitor::Visitor;
use crate::auth::DeviceAccess;
use crate::error::ApiError;
use iottly_cloud::clock;

/// Tabs of a device's screens: their names and their paths below the device's.
pub(super) const TABS: &[(&str, &str)] = &[
    ("Live", ""),
    ("Plots", "/plots"),
    ("Commands", "/commands"),
    ("Timeline", "/timeline"),
    ("Logs", "/logs"),
    ("History", "/history"),
    (BOARD, "/board"),
    ("Settings", "/settings"),
];

/// Name of the tab that devices have unless they are known to show no board.
const BOARD: &str = "Board";

/// A tab of a device.
pub(super) struct Tab<'a> {
    /// Path of the tab below the device's.
    pub(super) path: &'a str,
    /// Query of the page's event stream, after the device; none without live data.
    pub(super) events: Option<String>,
    pub(super) scripts: &'a [&'a str],
    pub(super) content: Markup,
}

impl Tab<'_> {
    /// Returns the page with the device's head and tabs.
    pub(super) async fn respond(
        self,
        visitor: &Visitor,
        access: &DeviceAccess,
    ) -> Result<Response, ApiError> {
        let device = access.device();
        // Without the names of the groups the rest of the page stands.
        let groups = access.project().groups().await.unwrap_or_default();
        let (base, id) = (visitor.base(), device.scope.device);
        let own = format!("{base}/devices/{id}");
        let boards = &access.services().boards;
        let has_board = self.path == "/board" || boards.can_show(id) != Some(false);
        let services = access.services();
        // Without TLS the cloud has no other login to offer.
        let legacy = device.legacy && services.enroll_offer.get().is_some();
        let digest = device.firmware.as_ref().map(|report| report.digest.as_str());
        let revision = match digest {
            Some(digest) => Revisions::of(access.project()).await.name(digest),
            None => None,
        };
        let content = html! {
            live-part #device-head data-on="device group" {
                (head((device, &services.presence.view(device), legacy), &groups, revision.as_deref(), (&own, &base)))
                @if let Some(refused) = services.refusals.of(device.scope) { (refusal(&refused, clock::now())) }
            }
            nav.tabs aria-label="Device" { ul { @for (name, path) in TABS.iter().filter(|(name, _)| has_board || *name != BOARD) {
                li { a href={ (own) (path) } aria-current=[(*path == self.path).then_some("page")] { (name) } }
            } } }
            (self.content)
        };
        let mut scripts = vec!["presence.js"];
        scripts.extend(self.scripts);
        let screen = Screen {
            section: Section::Devices,
            title: &device.name,
            crumbs: &[("Devices", format!("{base}/devices"))],
            events: Some(format!(
                "{base}/events?device={id}{}",
                self.events.unwrap_or_default()
            )),
            scripts: &scripts,
            content,
        };
        screen.respond(visitor).await
    }
}

fn head(
    (device, view, legacy): (&Device, &View, bool),
    groups: &[Group],
    revision: Option<&str>,
    (own, base): (&str, &str),
) -> Markup {
    let report = device.firmware.as_ref();
    let digest = report.map_or("", |report| report.digest.get(..8).unwrap_or(&report.digest));
    html! {
        div.head {
            div {
                h1 { (device.name) " " (shown(device, view, clock::now())) }
                ul.meta {
                    li { "group " a href={ (base) "/groups/" (device.group) } { (group_name(groups, device.group)) } }
                    li { "firmware " (firmware(report)) @if let Some(revision) = revision { " " b.mono { (revision) } } @if !digest.is_empty() { " " span.mono.soft { (digest) } } }
                    @if let Some(agent) = &device.agent_version { li { "agent " b { (agent) } } }
                    @if view.proof.is_some() { li { (proof(device, view, clock::now())) } }
                    @if legacy { li { span.tag data-tone="warn" { "legacy login" } } }
                    li { span.mono { (device.scope.device) } }
                }
            }
            div.actions { a.button href={ (own) "/commands" } { (super::kit::icons::icon(super::kit::icons::Icon::Send)) "Send command" } }
        }
        @if let Some(detail) = report.and_then(|report| report.detail.as_deref()).filter(|detail| !detail.is_empty()) {
            (super::kit::notice::notice(super::kit::notice::Tone::Warn, &html! { "The firmware stopped: " code.break { (detail) } }))
        }
    }
}
