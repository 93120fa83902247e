//! Presence of a device, as a word with a mark.

use iottly_core::model::{Device, UnixMs};
use maud::{Markup, html};

use super::super::text;

/// Returns the presence of a device, which scripts keep up to date.
pub(in super::super) fn presence(device: &Device, now: UnixMs) -> Markup {
    let word = if device.online { "online" } else { "offline" };
    html! {
        span.presence data-presence=(device.scope.device) data-state=(word) {
            span.word { (word) }
            @if let Some(since) = device.online_since {
                span.since { time datetime=(text::iso(since)) { (text::ago(since, now)) } }
            }
        }
    }
}
