//! Time since a date, which scripts keep true.

use iottly_core::model::UnixMs;
use maud::{Markup, html};

use super::super::text;

/// Returns the time since a date, in the largest fitting unit.
pub(in super::super) fn ago(since: UnixMs, now: UnixMs) -> Markup {
    html! { time datetime=(text::iso(since)) data-ago { (text::ago(since, now)) } }
}
