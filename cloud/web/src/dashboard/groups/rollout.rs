//! Progress of a rollout: counts, waves, devices that went otherwise than planned, and a cell for every device.

use std::collections::HashMap;

use iottly_core::model::{Group, Rollout, RolloutMember, StoredRelease};
use iottly_core::rollout::{Alike, BY_OWNER, Place, Places, place};
use iottly_protocol::DeviceId;
use maud::{Markup, html};
use serde_json::Value;

use super::super::events::MAX_DEVICES;
use super::super::kit::csv::csv_link;
use super::super::kit::icons::{Icon, icon};
use super::super::kit::notice::{Tone, notice};
use super::super::text;
use super::super::visitor::Visitor;
use super::{address, of_devices};
use crate::api::rollouts::{MAX_PARTS, parts_of};
use crate::auth::ProjectAccess;
use crate::error::ApiError;

/// Maximum number of devices with a cell of their own; of more, a cell is a hundredth of them.
const MAX_CELLS: usize = 400;
/// Maximum number of rows of devices that did not go as planned.
const MAX_ROWS: usize = 100;

/// Facts of a rollout that its page shows: of many devices their counts, and those that are listed.
pub(super) struct Progress {
    counts: Vec<Alike>,
    /// Devices with a cell of their own; of more than [`MAX_CELLS`] none.
    members: Vec<RolloutMember>,
    exceptions: Vec<RolloutMember>,
    /// Names of the devices in the evidence.
    names: HashMap<String, String>,
}

impl Progress {
    /// Reads the progress of a rollout.
    ///
    /// # Errors
    /// If the store fails.
    pub(super) async fn of(access: &ProjectAccess, rollout: &Rollout) -> Result<Self, ApiError> {
        let (store, project) = (&access.services().store, access.id());
        let mut members = store
            .rollout_page(project, rollout, None, None, MAX_CELLS + 1)
            .await?;
        let counts = if members.len() <= MAX_CELLS {
            store.rollout_counts(project, rollout, None).await?
        } else {
            members.clear();
            parts_of(access, rollout, MAX_PARTS as u64).await?
        };
        let failed: Vec<_> = failures(evidence(rollout).as_ref())
            .filter_map(|(device, _)| device.parse().ok())
            .collect();
        let named = store.devices_with_ids(project, &failed).await?.into_iter();
        Ok(Self {
            counts,
            members,
            exceptions: store.rollout_exceptions(project, rollout, MAX_ROWS).await?,
            names: named
                .map(|device| (device.scope.device.to_string(), device.name))
                .collect(),
        })
    }

    /// Returns the parameters of the page's event stream: messages of the devices with cells, and none without cells.
    pub(super) fn watched(&self) -> String {
        match self.members.len() {
            0 => "messages=none".to_owned(),
            1..=MAX_DEVICES => {
                let ids: Vec<_> = self
                    .members
                    .iter()
                    .map(|member| member.device.to_string())
                    .collect();
                format!("messages=shown&devices={}", ids.join(","))
            }
            _ => String::new(),
        }
    }

    /// Returns the parts of a page that show the rollout. A script keeps them up to date.
    pub(super) fn view(
        &self,
        visitor: &Visitor,
        group: &Group,
        rollout: &Rollout,
        release: Option<&StoredRelease>,
    ) -> Markup {
        let places = Places::of(&self.counts);
        let revision = release.map_or(String::new(), |release| format!("r{}", release.revision));
        let csv = format!("{}/csv/rollout?rollout={}", visitor.base(), rollout.id);
        html! {
            rollout-progress
                data-api={ "/v1.0/project/" (visitor.project.id()) "/rollouts/" (rollout.id) }
                data-active[rollout.active] data-status=(rollout.status.as_str()) data-revision=(revision)
                data-digest=[release.map(|release| release.sha256.as_str())]
                data-parts=(MAX_PARTS) data-rows=(MAX_ROWS)
                data-cells=(if self.is_many() { "many" } else { "devices" }) {
                (self.reasons(rollout))
                section.card.stack aria-labelledby="roll" {
                    h2.sr #roll { "Rollout of " (revision) }
                    (route(rollout, release, &places))
                    (bands(&places))
                    p.soft role="status" data-said { (sentence(&places)) }
                }
                (figures(visitor, group, rollout, &places))
                div.notice data-tone="warn" role="alert" data-ended hidden { div { p data-ended-text {} } }
                live-part #group-exceptions data-on="group" { (self.exceptions(visitor, &csv)) }
                (self.grid(visitor, &places))
                @if self.is_many() { (elsewhere(visitor, group)) } @else { section.card data-flush aria-labelledby="live" {
                    div.card-head { h2 #live { "Live from these devices" } button type="button" data-size="s" data-pause aria-pressed="false" hidden { (icon(Icon::Pause)) span data-pause-word { "Pause" } " " kbd { "p" } } span.soft.small role="status" data-log-said { "from the moment this page was opened" } }
                    ol.stream data-with="device" data-live-log {}
                } }
            }
        }
    }

    /// Returns true if a cell is several devices.
    fn is_many(&self) -> bool {
        self.members.is_empty() && !self.counts.is_empty()
    }

    /// Returns why a rollout halted or ended early, with the first devices that failed.
    fn reasons(&self, rollout: &Rollout) -> Markup {
        let found = evidence(rollout);
        html! {
            @if let Some(found) = &found {
                (notice(Tone::Bad, &html! {
                    p { b { "The rollout halted itself. " } span.break { (found["detail"].as_str().unwrap_or_default()) } }
                    ul { @for (device, reason) in failures(Some(found)) {
                        li {
                            b.break { (self.names.get(device).map_or(device, String::as_str)) }
                            " " span.tag data-tone="bad" data-reason { (reason) }
                        }
                    } }
                }))
            }
            @if let Some(reason) = &rollout.ended { (notice(Tone::Warn, &html! { p.break { @if &**reason == BY_OWNER { "It was cancelled." } @else { "The platform cancelled it: " (reason) } } })) }
        }
    }

    /// Returns the devices that did not go as planned, each with its reason.
    fn exceptions(&self, visitor: &Visitor, csv: &str) -> Markup {
        let alike = self.counts.iter().filter(|alike| alike.is_exception());
        let count: u64 = alike.map(|alike| alike.count).sum();
        html! {
            section.card data-flush aria-labelledby="exceptions" data-exceptions hidden[count == 0] {
                div.card-head { h2 #exceptions { "Not as planned" } (csv_link(csv, "rollout.csv")) span.soft.small data-exception-count { (of_devices(count)) } }
                table.table data-fold {
                    thead { tr { th { "Device" } th { "State" } th { "Reason" } th.p2 { "What happened" } th.num.p2 { "When" } } }
                    tbody data-exception-rows { @for member in &self.exceptions { (exception(visitor, member)) } }
                }
            }
        }
    }

    /// Returns a cell for every device; of many devices, a cell for a hundredth of them, in which the worst decides.
    fn grid(&self, visitor: &Visitor, places: &Places) -> Markup {
        let legend = [
            Place::Committed,
            Place::Updating,
            Place::Trial,
            Place::Deferred,
            Place::RolledBack,
            Place::Waiting,
        ];
        html! {
            section.card.stack aria-labelledby="grid" {
                div.section-head {
                    h2 #grid { "All " (of_devices(places.total())) }
                    ul.legend { @for place in legend { li { span.cell data-state=(cell(place)) {} (words(place)) } } }
                }
                @if self.is_many() {
                    ol.fleet { @for part in self.counts.chunk_by(|one, other| one.part == other.part) { (several(part)) } }
                } @else {
                    ol.fleet { @for member in &self.members { (one(visitor, member)) } }
                }
            }
        }
    }
}

/// Returns the way to the messages of many devices, which are too many to follow beside their rollout.
fn elsewhere(visitor: &Visitor, group: &Group) -> Markup {
    let filter = serde_json::json!({"device.group": group.name}).to_string();
    html! {
        section.card.stack aria-labelledby="live" {
            h2 #live { "Live from these devices" }
            p.soft { "They are too many to follow here. " a href={ (visitor.base()) "/stream?filter=" (text::escaped(&filter)) } { "The stream of the group" } " has what they send." }
        }
    }
}

/// Returns the evidence with which a rollout halted itself.
fn evidence(rollout: &Rollout) -> Option<Value> {
    serde_json::from_str(rollout.evidence.as_ref()?).ok()
}

/// Returns the failures in the evidence of a rollout: ids of devices, and their reasons.
fn failures(evidence: Option<&Value>) -> impl Iterator<Item = (&str, &str)> {
    let all = evidence.and_then(|found| found["failures"].as_array());
    all.into_iter().flatten().map(|failure| {
        let text = |key: &str| failure[key].as_str().unwrap_or_default();
        (text("device"), text("reason"))
    })
}

/// Returns the build and the waves of the policy as stations on a line.
fn route(rollout: &Rollout, release: Option<&StoredRelease>, places: &Places) -> Markup {
    let total = usize::try_from(places.total()).unwrap_or(usize::MAX);
    let mut ends = rollout.policy.ends(total);
    // Without a canary the first wave is the first station.
    ends.retain(|end| *end > 0 || total == 0);
    let done = usize::try_from(places.at(Place::Committed)).unwrap_or(usize::MAX);
    let complete = rollout.status.is_complete();
    let state = |index: usize, end: usize| {
        let before = if index == 0 { 0 } else { ends[index - 1] };
        if complete || done >= end {
            Some("done")
        } else if done >= before {
            Some(if rollout.progress.halted { "bad" } else { "now" })
        } else {
            None
        }
    };
    html! {
        ol.route role="list" data-fold {
            @if let Some(release) = release { li data-state="done" { b { "Built" } span { "r" (release.revision) ", " (release.size) " bytes" } } }
            @for (index, end) in ends.iter().enumerate() {
                li data-state=[state(index, *end)] {
                    b { @if index == 0 { "First " (end) } @else if index + 1 == ends.len() { "To all " (end) } @else { "To " (end) } }
                    span data-healthy=(end) { (done.min(*end)) " of " (end) " healthy" }
                }
            }
            li data-state=[complete.then_some("done")] { b { "Deployed" } span { "all run it, healthy" } }
        }
    }
}

/// Returns the parts of a group as one bar.
fn bands(places: &Places) -> Markup {
    let total = places.total().max(1);
    let parts = [
        ("s-committed", places.at(Place::Committed)),
        ("s-busy", places.at(Place::Updating) + places.at(Place::Trial)),
        ("s-deferred", places.at(Place::Deferred)),
        ("s-bad", places.at(Place::Failed) + places.at(Place::RolledBack)),
        ("s-wait", places.at(Place::Waiting) + places.at(Place::Cancelled)),
    ];
    let mut from = 0;
    html! {
        svg.bands viewBox={ "0 0 " (total) " 1" } preserveAspectRatio="none" role="img" aria-label=(sentence(places)) {
            @for (class, width) in parts {
                rect class=(class) data-band=(class) x=({ let at = from; from += width; at }) y="0" width=(width) height="1" {}
            }
        }
    }
}

fn sentence(places: &Places) -> String {
    let parts: Vec<_> = Place::ALL
        .into_iter()
        .rev()
        .filter(|place| places.at(*place) > 0)
        .map(|place| format!("{} {}", places.at(place), words(place)))
        .collect();
    if parts.is_empty() {
        "No device is in this rollout.".to_owned()
    } else {
        format!("{}, of {}", parts.join(", "), of_devices(places.total()))
    }
}

/// Returns a place in words.
pub(super) const fn words(place: Place) -> &'static str {
    match place {
        Place::Waiting => "waiting",
        Place::Deferred => "deferred",
        Place::Updating => "updating",
        Place::Trial => "in trial",
        Place::Committed => "committed",
        Place::Cancelled => "cancelled",
        Place::Failed => "failed",
        Place::RolledBack => "rolled back",
    }
}

fn figures(visitor: &Visitor, group: &Group, rollout: &Rollout, places: &Places) -> Markup {
    let list = format!("{}/rollouts/{}/devices", address(visitor, group), rollout.id);
    let tone = |place: Place| match place {
        Place::Committed if places.at(place) > 0 => Some("good"),
        Place::Deferred if places.at(place) > 0 => Some("warn"),
        Place::Failed | Place::RolledBack if places.at(place) > 0 => Some("bad"),
        _ => None,
    };
    let shown = [
        (Place::Committed, "Committed"),
        (Place::Updating, "Updating"),
        (Place::Waiting, "Waiting"),
        (Place::Deferred, "Deferred"),
        (Place::RolledBack, "Rolled back"),
    ];
    html! {
        div.figures {
            @for (place, name) in shown {
                a.figure href={ (list) "?place=" (place.as_str()) } data-tone=[tone(place)] {
                    span.name { (name) }
                    span.value { span data-place=(place.as_str()) { (places.at(place)) } " " small { "of " span data-total { (places.total()) } } }
                    @if place == Place::Updating { span.aside { span data-place="trial" { (places.at(Place::Trial)) } " more in trial" } }
                    @if place == Place::RolledBack { span.aside { span data-place="failed" { (places.at(Place::Failed)) } " more failed before their trial" } }
                }
            }
        }
    }
}

pub(super) fn exception(visitor: &Visitor, member: &RolloutMember) -> Markup {
    let place = place(member);
    let tone = if place.is_bad() { "bad" } else { "warn" };
    let sent = member.directive.as_ref();
    let text = |get: fn(&iottly_core::model::DirectiveStatus) -> Option<&String>| {
        sent.and_then(get).map(String::as_str)
    };
    html! {
        tr {
            td { a href=(device(visitor, member.device)) { b.break { (member.name) } } }
            td { (words(place)) }
            td { @if let Some(reason) = sent.and_then(|sent| sent.reason) { span.tag data-tone=(tone) data-reason { (reason.as_str()) } } }
            td.p2.break {
                (text(|sent| sent.detail.as_ref()).unwrap_or_default())
                @if let Some(fault) = text(|sent| sent.fault.as_ref()) { span.sub.mono.break { (fault) } }
            }
            td.num.soft.p2 { @if let Some(sent) = sent { (text::clock(sent.changed)) } }
        }
    }
}

fn one(visitor: &Visitor, member: &RolloutMember) -> Markup {
    let place = place(member);
    let reason = member
        .directive
        .as_ref()
        .and_then(|sent| sent.reason)
        .map(|reason| format!(", {reason}"));
    let title = format!("{}: {}{}", member.name, words(place), reason.unwrap_or_default());
    html! {
        li { a.cell data-device=(member.device) data-name=(member.name) data-state=(cell(place)) href=(device(visitor, member.device)) title=(title) { span.sr { (title) } } }
    }
}

fn several(part: &[Alike]) -> Markup {
    let worst = part
        .iter()
        .map(Alike::place)
        .max_by_key(|place| severity(*place))
        .unwrap_or(Place::Waiting);
    let title = sentence(&Places::of(part));
    html! { li { span.cell data-state=(cell(worst)) title=(title) { span.sr { (title) } } } }
}

/// Returns the order in which a place decides the look of a cell of several devices.
const fn severity(place: Place) -> u8 {
    match place {
        Place::Committed => 0,
        Place::Cancelled => 1,
        Place::Waiting => 2,
        Place::Trial => 3,
        Place::Updating => 4,
        Place::Deferred => 5,
        Place::Failed => 6,
        Place::RolledBack => 7,
    }
}

const fn cell(place: Place) -> &'static str {
    match place {
        Place::Committed => "committed",
        Place::Updating => "busy",
        Place::Trial => "trial",
        Place::Deferred => "deferred",
        Place::Failed | Place::RolledBack => "bad",
        Place::Waiting | Place::Cancelled => "wait",
    }
}

fn device(visitor: &Visitor, id: DeviceId) -> String {
    format!("{}/devices/{id}", visitor.base())
}
