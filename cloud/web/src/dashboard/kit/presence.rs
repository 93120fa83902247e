//! Presence of a device, as a word with a mark, the time since which it is so, and its last proof.

use iottly_core::model::{Device, UnixMs};
use iottly_core::presence::{Facts, Shown, View};
use maud::{Markup, html};

use super::super::text;
use super::age::ago;

/// Returns the presence of a device by what the database knows, which scripts keep up to date: a silent device becomes
/// `silent` with the first event of the page.
pub(in super::super) fn presence(device: &Device, now: UnixMs) -> Markup {
    let facts = Facts {
        online: device.online,
        changed: device.online_since,
        proof: device.proof,
        pauses: None,
        absence: device.absence.as_ref(),
    };
    shown(device, &View::of(facts, now), now)
}

/// Returns a presence of a device, which scripts keep up to date.
pub(in super::super) fn shown(device: &Device, view: &View, now: UnixMs) -> Markup {
    let proof = view
        .proof
        .map(|proof| format!("last proof: {}, {}", proof.packet.as_str(), text::iso(proof.at)));
    html! {
        span.presence data-presence=(device.scope.device) data-state=(view.shown.as_str()) title=[proof] {
            span.word { (view.shown.as_str()) }
            @match &view.shown {
                Shown::Absent { planned, .. } => span.since { "planned until " time datetime=(text::iso(planned.until)) { (text::day(planned.until)) } },
                other => @if let Some(since) = other.since() {
                    span.since { (ago(since, now)) }
                },
            }
        }
    }
}

/// Returns the last proof of a device's link as text, which scripts keep up to date.
pub(in super::super) fn proof(device: &Device, view: &View, now: UnixMs) -> Markup {
    html! {
        @if let Some(proof) = view.proof {
            "last proof " span data-proof=(device.scope.device) { (proof.packet.as_str()) " " (ago(proof.at, now)) " ago" }
        }
    }
}
