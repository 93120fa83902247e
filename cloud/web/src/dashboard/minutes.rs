//! Messages of the last hour by minutes, as bars that the server draws.

use iottly_core::model::MinuteUsage;
use maud::{Markup, html};

use super::kit::csv::csv_link;
use super::kit::empty::broken;
use super::text;
use crate::error::ApiError;

/// Height of the drawing, in its own units; a minute is one wide.
const HEIGHT: u64 = 24;

/// Returns the part of the overview with the messages of each minute. It is read again with the other parts, at the latest
/// after a minute.
pub(super) fn minutes(read: &Result<Vec<MinuteUsage>, ApiError>, base: &str) -> Markup {
    html! {
        live-part #per-minute data-on="" {
            section.card data-flush aria-labelledby="minutes" {
                div.card-head { h2 #minutes { "Messages per minute" } (csv_link(&format!("{base}/csv/minutes"), "minutes.csv")) }
                @match read {
                    Err(error) => (broken("The messages of the last hour could not be counted", error.message())),
                    Ok(minutes) => (drawn(minutes)),
                }
            }
        }
    }
}

fn drawn(minutes: &[MinuteUsage]) -> Markup {
    let all: u64 = minutes.iter().map(|minute| minute.messages).sum();
    let most = minutes
        .iter()
        .map(|minute| minute.messages)
        .max()
        .unwrap_or_default();
    let (Some(first), Some(last)) = (minutes.first(), minutes.last()) else {
        return html! {};
    };
    if all == 0 {
        return html! { div.empty { p { "No messages in the last hour. Bars appear here as devices send." } } };
    }
    let label = format!("Messages per minute of the last hour: {all} in all, at most {most} in a minute");
    html! {
        div.minutes {
            p.soft.small { b { (all) } " in the last hour, at most " b { (most) } " a minute" }
            svg viewBox={ "0 0 " (minutes.len()) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(label) {
                @for (place, minute) in minutes.iter().enumerate() {
                    @let height = height(minute.messages, most);
                    @if height > 0.0 {
                        rect x=(format!("{}.1", place)) y=(format!("{:.2}", HEIGHT as f64 - height)) width="0.8" height=(format!("{height:.2}"))
                            class=[(minute.start == last.start).then_some("running")] {
                            title { (text::minute(minute.start)) ": " (minute.messages) }
                        }
                    }
                }
            }
            div.ticks { span { (text::minute(first.start)) } span { (text::minute(last.start)) ", not over yet" } }
        }
    }
}

/// Returns the height of a bar; one that can be seen for a minute with few messages.
fn height(messages: u64, most: u64) -> f64 {
    if messages == 0 {
        return 0.0;
    }
    (messages as f64 / most.max(1) as f64 * HEIGHT as f64).max(0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(messages: &[u64]) -> String {
        let minutes: Vec<_> = (0_i64..)
            .zip(messages)
            .map(|(place, messages)| MinuteUsage {
                start: place * 60_000,
                messages: *messages,
            })
            .collect();
        drawn(&minutes).into_string()
    }

    #[test]
    fn bars_are_as_high_as_their_minutes_and_none_is_invisible() {
        let shown = of(&[0, 1000, 500, 1]);
        assert_eq!(shown.matches("<rect").count(), 3);
        for part in [
            r#"x="1.1" y="0.00""#,
            r#"x="2.1" y="12.00""#,
            r#"x="3.1" y="23.50" width="0.8" height="0.50" class="running""#,
            "1501",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert!(of(&[0, 0]).contains("No messages in the last hour"));
    }
}
