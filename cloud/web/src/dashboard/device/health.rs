//! Health of a device on its page: what waits in its queue, and what its sandbox uses.

use iottly_core::health::DeviceHealth;
use iottly_core::model::UnixMs;
use iottly_protocol::health::FirmwareHealth;
use maud::{Markup, html};

use super::super::kit::age::ago;
use super::super::kit::empty::broken;
use super::super::kit::figure::{Figure, figures};
use super::super::kit::notice::{Tone, notice};
use super::super::text;
use crate::error::ApiError;

/// Returns the part of the page that renews itself. `base` is the path of the project's pages.
pub(super) fn health(read: &Result<Option<DeviceHealth>, ApiError>, base: &str, now: UnixMs) -> Markup {
    html! {
        live-part #device-health data-on="health" {
            section.section aria-labelledby="health" {
                @match read {
                    Ok(Some(health)) => {
                        div.section-head { h2 #health { "Health" } span.soft { "reported " (ago(health.at, now)) " ago, " (text::span(health.report.up_ms)) " after the agent's start" } }
                        (warnings(health, base, now))
                        (figures(&shown(health)))
                    },
                    Ok(None) => div.section-head {
                        h2 #health { "Health" }
                        span.soft { "Not reported: the device has not connected since this cloud takes reports, or its agent is too old to send them." }
                    },
                    Err(error) => {
                        div.section-head { h2 #health { "Health" } }
                        div.card data-flush { (broken("The health of the device could not be read", error.message())) }
                    },
                }
            }
        }
    }
}

fn warnings(health: &DeviceHealth, base: &str, now: UnixMs) -> Markup {
    html! {
        @if health.is_queue_nearly_full() {
            (notice(Tone::Warn, &html! {
                "The queue on the device takes " b { (health.queue_percent()) " %" } " of its budget. When it is full, messages are lost."
            }))
        }
        @if let Some(at) = health.trapped_at().filter(|_| health.has_trapped_lately(now)) {
            (notice(Tone::Warn, &html! {
                "The sandbox stopped the firmware " (ago(at, now)) " ago. " a href={ (base) "/crashes" } { "See the crashes" } "."
            }))
        }
    }
}

fn shown(health: &DeviceHealth) -> Vec<Figure<'static>> {
    let report = &health.report;
    let figure = |name, value, unit: Markup, aside: Markup, tone| Figure {
        name,
        value,
        unit,
        aside,
        href: None,
        tone,
        live: None,
    };
    let waiting = report.history.waiting;
    let mut shown = vec![
        figure(
            "Waiting on the device",
            waiting.to_string(),
            html! { @if waiting == 1 { "message" } @else { "messages" } },
            html! {
                @match report.history.oldest_ms {
                    Some(age) => { "oldest " (text::span(age)) },
                    None if waiting == 0 => "all are stored here",
                    None => "age not known",
                }
                @if report.control.waiting > 0 { ", and " (report.control.waiting) " of commands and logs" }
            },
            None,
        ),
        figure(
            "Queue on its disk",
            text::size(health.queue_bytes()),
            html! {},
            html! {
                "of " (text::size(report.queue_budget_bytes)) "; "
                @match health.lost() {
                    0 => "nothing lost",
                    lost => b { (lost) " lost" },
                }
                " since the start"
            },
            health.is_queue_nearly_full().then_some("warn"),
        ),
    ];
    if let Some(firmware) = &report.firmware {
        shown.extend(sandbox(health, firmware).map(|(name, value, aside)| {
            let tone = (name == "Traps" && firmware.traps > 0).then_some("warn");
            figure(name, value, html! {}, aside, tone)
        }));
    }
    shown
}

fn sandbox(health: &DeviceHealth, firmware: &FirmwareHealth) -> [(&'static str, String, Markup); 3] {
    let limit = text::size(firmware.memory_limit_bytes);
    let (memory, memory_aside) = match firmware.memory_bytes {
        0 => ("–".to_owned(), html! { "nothing runs; the limit is " (limit) }),
        bytes => (
            text::size(bytes),
            html! { "of " (limit) ", " (health.memory_percent().unwrap_or(0)) " %" },
        ),
    };
    let counted = |number: u64, name| text::counted(usize::try_from(number).unwrap_or(usize::MAX), name);
    let calls = html! {
        @if firmware.calls > 0 { (percent(firmware.budget_permille)) " of the budget of a call; " }
        (counted(firmware.calls, "call")) " in " (text::span(firmware.over_ms))
    };
    let restarts = html! { (counted(firmware.restarts, "restart")) " since the start" };
    let longest = match firmware.longest_us {
        0..1000 => format!("{} µs", firmware.longest_us),
        1000..10_000 => format!(
            "{}.{} ms",
            firmware.longest_us / 1000,
            firmware.longest_us / 100 % 10
        ),
        longer => format!("{} ms", longer / 1000),
    };
    [
        ("Firmware memory", memory, memory_aside),
        ("Longest call", longest, calls),
        ("Traps", firmware.traps.to_string(), restarts),
    ]
}

/// Returns thousandths as percent.
fn percent(permille: u64) -> String {
    match permille {
        0..10 => "less than 1 %".to_owned(),
        more => format!("{} %", more / 10),
    }
}
