//! Mutes on the page of alerts: the control of a row, and what its form means.

use iottly_core::model::UnixMs;
use maud::{Markup, html};

use super::super::forms::Fields;
use super::super::text;
use crate::api::dto::{Date, MuteBody};
use crate::error::ApiError;

/// A day, in milliseconds.
pub(super) const DAY_MS: UnixMs = 24 * 60 * 60 * 1000;
/// Lengths that the form offers: their values, names and milliseconds. The first is that of a form without one.
const LENGTHS: [(&str, &str, UnixMs); 3] = [
    ("1d", "1 day", DAY_MS),
    ("1h", "1 hour", DAY_MS / 24),
    ("1w", "1 week", 7 * DAY_MS),
];

/// Returns the mark of what is mute; empty for others.
pub(super) fn mark(until: Option<Date>) -> Markup {
    html! { @if let Some(until) = until { " " span.tag title={ "until " (text::iso(until.at())) } { "mute until " (text::minute(until.at())) } } }
}

/// Returns the form that mutes an alert or a rule, or ends its mute. `query` is the filter to return to.
pub(super) fn control(own: &str, query: &str, is_mute: bool) -> Markup {
    html! {
        @if is_mute {
            form method="post" action={ (own) "/unmute" (query) } { button data-size="s" { "Unmute" } }
        } @else {
            details {
                summary.button data-size="s" { "Mute…" }
                form.stack method="post" action={ (own) "/mute" (query) } {
                    label { "For " select name="for" { @for (value, name, _) in LENGTHS { option value=(value) { (name) } } } }
                    label { "or until (UTC) " input type="datetime-local" name="until"; }
                    div.actions { button data-size="s" { "Mute" } }
                }
            }
        }
    }
}

/// Returns the mute that the form asks for: until its time, or else for its length.
///
/// # Errors
/// If the time cannot be read, or the length is unknown.
pub(super) fn read(fields: &Fields, now: UnixMs) -> Result<MuteBody, ApiError> {
    if let Some(until) = fields.moment("until")? {
        return Ok(MuteBody { until });
    }
    let wanted = fields.get("for").unwrap_or(LENGTHS[0].0);
    let length = LENGTHS.iter().find(|(value, ..)| *value == wanted);
    let (.., length) = length.ok_or_else(|| ApiError::invalid("invalid_form", "for is not 1h, 1d or 1w"))?;
    Ok(MuteBody {
        until: now.saturating_add(*length),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mute_is_until_a_time_or_for_a_length() {
        let until = |pairs: &[(&str, &str)]| {
            let pairs = pairs
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()));
            read(&Fields(pairs.collect()), 1000).map(|body| body.until).ok()
        };
        assert_eq!(until(&[]), Some(1000 + DAY_MS));
        assert_eq!(until(&[("for", "1h"), ("until", "")]), Some(3_601_000));
        assert_eq!(until(&[("for", "1w")]), Some(1000 + 7 * DAY_MS));
        assert_eq!(
            until(&[("for", "1h"), ("until", "1970-01-02T00:00")]),
            Some(DAY_MS)
        );
        assert_eq!(until(&[("for", "9y")]), None);
        assert_eq!(until(&[("until", "soon")]), None);
    }
}
