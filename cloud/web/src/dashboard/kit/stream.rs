//! Messages and log lines in the order of time, with their gaps.

use iottly_core::model::{StoredLog, StoredMessage};
use iottly_protocol::{Level, MessageKind};
use maud::{Markup, html};

use super::super::text;
use super::json::json;

/// Returns one message as a row; `name` is that of its device, on pages with several devices.
pub(in super::super) fn message(message: &StoredMessage, name: Option<(&str, &str)>) -> Markup {
    let agent = message.kind == MessageKind::IottlyAgent;
    html! {
        li data-kind=[agent.then_some("agent")] {
            time datetime=(text::iso(message.timestamp)) { (text::clock(message.timestamp)) }
            @if let Some((name, href)) = name { a.break href=(href) { (name) } }
            div.body {
                @if agent { span.tag { "agent" } }
                @if let Some(channel) = &message.channel { span.tag.break { (channel) } }
                (json(message.payload.get()))
            }
        }
    }
}

/// Returns one log line as a row; `name` is that of its device, on pages with several devices.
pub(in super::super) fn log_line(log: &StoredLog, name: Option<(&str, &str)>) -> Markup {
    let (level, tone) = (level_name(log.level), level_tone(log.level));
    html! {
        li data-level=(level) {
            time datetime=(text::iso(log.device_timestamp)) { (text::clock(log.device_timestamp)) }
            @if let Some((name, href)) = name { a.break href=(href) { (name) } }
            div.body { span.tag data-tone=[tone] { (level) } span.break { (log.text) } }
        }
    }
}

/// Returns the colour of a level's mark; none for levels that are no exception.
pub(in super::super) fn level_tone(level: Level) -> Option<&'static str> {
    match level {
        Level::Error => Some("bad"),
        Level::Warn => Some("warn"),
        Level::Trace | Level::Debug | Level::Info => None,
    }
}

/// Returns the name of a level.
pub(in super::super) fn level_name(level: Level) -> &'static str {
    match level {
        Level::Trace => "trace",
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}
