//! The live messages of all devices of a project, with a filter.

use axum::extract::Query;
use axum::response::Response;
use iottly_core::short_form::MESSAGES;
use maud::{Markup, html};
use serde::Deserialize;

use super::kit::filter::{FilterBox, filter_box};
use super::kit::icons::{Icon, icon};
use super::kit::lane::{Lane, lanes};
use super::kit::script::{script, word};
use super::layout::failure;
use super::shell::{Screen, Section};
use super::text;
use super::visitor::Visitor;
use crate::api::message_filter::json_of;
use crate::error::ApiError;

/// Query of the page.
#[derive(Deserialize)]
pub(super) struct Asked {
    filter: Option<String>,
    show: Option<String>,
}

pub(super) async fn show(visitor: Visitor, Query(asked): Query<Asked>) -> Response {
    page(&visitor, &asked)
        .await
        .unwrap_or_else(|error| failure(&error))
}

async fn page(visitor: &Visitor, asked: &Asked) -> Result<Response, ApiError> {
    let base = visitor.base();
    let text = asked.filter.as_deref().unwrap_or_default().trim();
    let (json, problem) = match text {
        "" => (None, None),
        text => match json_of(text) {
            Ok(json) => (Some(json), None),
            Err(reason) => (None, Some(reason)),
        },
    };
    let own = format!("{base}/stream");
    let lane = Lane::of(asked.show.as_deref());
    let content = html! {
        div.head { div { h1 { "Stream" } p.lede { "Messages of all devices as they are stored. A device's history has the older ones." } } }
        (filter_box("messages", &FilterBox {
            action: &own,
            text,
            placeholder: "group:demo temperature>30 or door:open",
            result: html! { @if json.is_some() { b { "Messages that match" } } @else { b { "All messages" } } },
            json: json.as_deref(),
            problem: problem.as_deref(),
            examples: MESSAGES.suggestions("").collect(),
        }))
        live-feed.card data-flush data-show=[lane.name()] {
            div.card-head {
                span.actions { button type="button" data-size="s" data-pause aria-pressed="false" hidden { (icon(Icon::Pause)) "Pause " kbd { "p" } } }
                (lanes(&own, text, lane))
                span.soft.small data-counts role="status" {}
            }
            ol.stream data-with="device" aria-label="Messages of all devices" {}
            div.empty {
                @if json.is_some() { h3 { "Nothing has matched yet" } }
                p { @if json.is_some() { "Messages that match appear here as devices send them." } @else { "Messages appear here as devices send them." }
                    " Without JavaScript, a device's history shows them after a reload." }
            }
            div.card-foot { span data-skipped role="status" {} span { "Newest first, times in UTC" } }
        }
        (same(&lane.filter(text)))
    };
    let events = match &json {
        Some(_) => format!("{base}/events?filter={}", text::escaped(text)),
        None => format!("{base}/events"),
    };
    let screen = Screen {
        section: Section::Stream,
        title: "Stream",
        crumbs: &[],
        events: problem.is_none().then_some(events),
        scripts: &["feed.js", "suggest.js"],
        content,
    };
    screen.respond(visitor).await
}

/// Returns the box with the same messages from a script.
fn same(filter: &str) -> Markup {
    if filter.is_empty() {
        return script("iottly tail", ("GET", "/events", None));
    }
    let path = format!("/events?filter={}", text::escaped(filter));
    script(
        &format!("iottly tail --filter {}", word(filter)),
        ("GET", &path, None),
    )
}
