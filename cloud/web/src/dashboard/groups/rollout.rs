//! Progress of a rollout: counts, waves, devices that went otherwise than planned, and a cell for every device.

use std::collections::HashMap;

use iottly_core::model::{Group, Rollout, RolloutMember, StoredRelease};
use iottly_core::rollout::{Place, Places, place};
use iottly_protocol::DeviceId;
use maud::{Markup, html};
use serde_json::Value;

use super::super::kit::csv::csv_link;
use super::super::kit::notice::{Tone, notice};
use super::super::text;
use super::super::visitor::Visitor;
use super::{devices, of_devices};

/// Maximum number of devices with a cell of their own; of more, a cell is a hundredth of them.
const MAX_CELLS: usize = 400;
/// Number of cells when a cell is several devices.
const CELLS: usize = 100;
/// Maximum number of rows of devices that did not go as planned.
const MAX_ROWS: usize = 100;

/// Returns the parts of a page that show a rollout. A script keeps them up to date.
pub(super) fn progress(
    visitor: &Visitor,
    group: &Group,
    rollout: &Rollout,
    release: Option<&StoredRelease>,
    members: &[RolloutMember],
) -> Markup {
    let places = Places::of(members);
    let revision = release.map_or(String::new(), |release| format!("r{}", release.revision));
    html! {
        rollout-progress
            data-api={ "/v1.0/project/" (visitor.project.id()) "/rollouts/" (rollout.id) }
            data-active[rollout.active] data-status=(rollout.status.as_str()) data-revision=(revision)
            data-digest=[release.map(|release| release.sha256.as_str())]
            data-cells=(if members.len() <= MAX_CELLS { "devices" } else { "many" }) {
            (evidence(rollout, members))
            section.card.stack aria-labelledby="roll" {
                h2.sr #roll { "Rollout of " (revision) }
                (route(rollout, &places))
                (bands(&places))
                p.soft role="status" data-said { (sentence(&places)) }
            }
            (figures(visitor, group, &places))
            (exceptions(visitor, members, &format!("{}/csv/rollout?rollout={}", visitor.base(), rollout.id)))
            (grid(visitor, members))
            section.card data-flush aria-labelledby="live" {
                div.card-head { h2 #live { "Live from these devices" } span.soft.small { "from the moment this page was opened" } }
                ol.stream data-with="device" data-live-log {}
            }
        }
    }
}

/// Returns why a rollout halted or ended early, with the first devices that failed.
fn evidence(rollout: &Rollout, members: &[RolloutMember]) -> Markup {
    let names: HashMap<String, &str> = members
        .iter()
        .map(|one| (one.device.to_string(), one.name.as_str()))
        .collect();
    let found: Option<Value> = rollout
        .evidence
        .as_ref()
        .and_then(|text| serde_json::from_str(text).ok());
    html! {
        @if let Some(found) = &found {
            (notice(Tone::Bad, &html! {
                p { b { "The rollout halted itself. " } span.break { (found["detail"].as_str().unwrap_or_default()) } }
                ul { @for failure in found["failures"].as_array().into_iter().flatten() {
                    li {
                        b.break { (failure["device"].as_str().and_then(|id| names.get(id).copied()).unwrap_or_else(|| failure["device"].as_str().unwrap_or_default())) }
                        " " span.tag data-tone="bad" data-reason { (failure["reason"].as_str().unwrap_or_default()) }
                    }
                } }
            }))
        }
        @if let Some(reason) = &rollout.ended { (notice(Tone::Warn, &html! { p.break { "The platform cancelled it: " (reason) } })) }
    }
}

/// Returns the waves of the policy as stations on a line.
fn route(rollout: &Rollout, places: &Places) -> Markup {
    let total = usize::try_from(places.total()).unwrap_or(usize::MAX);
    let ends = rollout.policy.ends(total);
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
            @for (index, end) in ends.iter().enumerate() {
                li data-state=[state(index, *end)] {
                    b { @if index == 0 { "First " (end) } @else if index + 1 == ends.len() { "To all " (end) } @else { "To " (end) } }
                    span { (done.min(*end)) " of " (end) " healthy" }
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
const fn words(place: Place) -> &'static str {
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

fn figures(visitor: &Visitor, group: &Group, places: &Places) -> Markup {
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
                a.figure href=(devices(visitor, group)) data-tone=[tone(place)] {
                    span.name { (name) }
                    span.value { span data-place=(place.as_str()) { (places.at(place)) } " " small { "of " span data-total { (places.total()) } } }
                    @if place == Place::Updating { span.aside { span data-place="trial" { (places.at(Place::Trial)) } " more in trial" } }
                    @if place == Place::RolledBack { span.aside { span data-place="failed" { (places.at(Place::Failed)) } " more failed before their trial" } }
                }
            }
        }
    }
}

/// Returns the devices that did not go as planned, each with its reason.
fn exceptions(visitor: &Visitor, members: &[RolloutMember], csv: &str) -> Markup {
    let not_planned = |member: &&RolloutMember| {
        let place = place(member);
        place.is_bad()
            || place == Place::Deferred
            || member
                .directive
                .as_ref()
                .is_some_and(|sent| sent.reason.is_some())
    };
    let found: Vec<_> = members.iter().filter(not_planned).collect();
    html! {
        section.card data-flush aria-labelledby="exceptions" data-exceptions hidden[found.is_empty()] {
            div.card-head { h2 #exceptions { "Not as planned" } (csv_link(csv, "rollout.csv")) span.soft.small { (of_devices(found.len() as u64)) } }
            table.table data-fold {
                thead { tr { th { "Device" } th { "State" } th { "Reason" } th.p2 { "What happened" } th.num.p2 { "When" } } }
                tbody { @for member in found.iter().take(MAX_ROWS) { (exception(visitor, member)) } }
            }
        }
    }
}

fn exception(visitor: &Visitor, member: &RolloutMember) -> Markup {
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

/// Returns a cell for every device; of many devices, a cell for a hundredth of them, in which the worst decides.
fn grid(visitor: &Visitor, members: &[RolloutMember]) -> Markup {
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
                h2 #grid { "All " (of_devices(members.len() as u64)) }
                ul.legend { @for place in legend { li { span.cell data-state=(cell(place)) {} (words(place)) } } }
            }
            @if members.len() <= MAX_CELLS {
                ol.fleet { @for member in members { (one(visitor, member)) } }
            } @else {
                ol.fleet { @for part in members.chunks(members.len().div_ceil(CELLS)) { (several(part)) } }
            }
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

fn several(part: &[RolloutMember]) -> Markup {
    let worst = part
        .iter()
        .map(place)
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
