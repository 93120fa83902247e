//! The newest value of each path of a device's messages, beside its newest messages.

use iottly_core::model::UnixMs;
use iottly_core::series::{Latest, LatestValue, Reading};
use maud::{Markup, html};

use super::super::kit::age::ago;
use super::super::kit::csv::csv_link;
use super::super::kit::empty::broken;
use super::super::text;
use crate::error::ApiError;

/// Number of values that are shown at once; the others unfold.
const SHOWN: usize = 6;

/// Returns the values; nothing for a device that has sent none.
pub(super) fn latest(read: &Result<Latest, ApiError>, (own, file): (&str, &str), now: UnixMs) -> Markup {
    let latest = match read {
        Ok(latest) => latest,
        Err(error) => {
            return html! { section.card data-flush { (broken("The latest values could not be read", error.message())) } };
        }
    };
    let mut values: Vec<_> = latest.values().collect();
    values.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    let (first, others) = values.split_at(values.len().min(SHOWN));
    html! {
        live-part #latest data-on="entry" data-least="5" {
            @if !values.is_empty() {
                section.section aria-labelledby="values" {
                    div.section-head { h2 #values { "Latest values" } span.soft { "The newest of each path" } (csv_link(file, "latest.csv")) }
                    div.card data-flush {
                        (table(first, own, now))
                        @if !others.is_empty() {
                            details.more { summary { (text::counted(others.len(), "more value")) } (table(others, own, now)) }
                        }
                    }
                }
            }
        }
    }
}

fn table(values: &[LatestValue<'_>], own: &str, now: UnixMs) -> Markup {
    html! {
        table.table {
            thead.sr { tr { th { "Path" } th.num { "Value" } th.num { "Age" } th { "Plot" } } }
            tbody { @for value in values { tr {
                td.break.mono { (value.path) }
                td.num.break { b { (value.value) } }
                td.num.soft { (ago(value.at, now)) }
                td.num { @if matches!(value.value, Reading::Number(_)) {
                    a href={ (own) "/plots?path=" (text::escaped(&value.path)) } aria-label={ "Plot of " (value.path) } { "Plot" }
                } }
            } } }
        }
    }
}
