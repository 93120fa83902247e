//! The tab with a device's newest messages, live.

use axum::extract::{Path, Query};
use axum::response::Response;
use iottly_core::model::StoredMessage;
use iottly_core::short_form::MESSAGES as MESSAGES_LANGUAGE;
use maud::{Markup, html};
use serde::Deserialize;

use super::super::events;
use super::super::kit::empty::{broken, part};
use super::super::kit::filter::{FilterBox, filter_box};
use super::super::kit::icons::{Icon, icon};
use super::super::kit::lane::{Lane, lanes};
use super::super::kit::script::{script, word};
use super::super::kit::stream::message;
use super::super::layout::failure;
use super::super::text;
use super::super::visitor::Visitor;
use super::Tab;
use super::health::health;
use crate::api;
use crate::api::message_filter::json_of;
use crate::error::ApiError;
use iottly_cloud::clock;

/// Number of messages that the server renders.
const MESSAGES: usize = 50;
/// Number of messages that the server reads for one lane of them.
const READ_FOR_LANE: usize = 200;

/// Query of the page.
#[derive(Deserialize)]
pub(in super::super) struct Asked {
    filter: Option<String>,
    show: Option<String>,
}

pub(in super::super) async fn show(
    visitor: Visitor,
    Path((_, id)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Response {
    let text = asked.filter.as_deref().unwrap_or_default().trim();
    page(&visitor, &id, text, Lane::of(asked.show.as_deref()))
        .await
        .unwrap_or_else(|error| failure(&error))
}

async fn page(visitor: &Visitor, id: &str, text: &str, lane: Lane) -> Result<Response, ApiError> {
    let access = visitor.device(id).await?;
    let read = async |filter: Option<&str>, limit| {
        let asked = api::Page {
            limit,
            filter,
            before: None,
        };
        api::page(access.services(), access.scope(), &asked).await
    };
    // Read first, so that the page's events begin before the newest message that it may not show.
    let most = match lane {
        Lane::All => MESSAGES,
        Lane::User | Lane::Platform => READ_FOR_LANE,
    };
    let latest = part(read(None, if text.is_empty() { most } else { 1 }).await)?;
    let latest = latest.map(|page| page.messages);
    let (read, json, problem) = match text {
        "" => (latest.clone(), None, None),
        text => match json_of(text) {
            Err(reason) => (Ok(Vec::new()), None, Some(reason)),
            Ok(json) => match read(Some(&json), most).await {
                Err(error) if error.status().is_client_error() => {
                    (Ok(Vec::new()), Some(json), Some(error.message().to_owned()))
                }
                found => (found.map(|page| page.messages), Some(json), None),
            },
        },
    };
    let newest_match = read.as_ref().ok().and_then(|messages| messages.first().cloned());
    let mut hidden = 0;
    let read = read.map(|messages| {
        let (shown, others) = lane.split(messages, MESSAGES);
        hidden = others;
        shown
    });
    let messages = read.as_deref().unwrap_or_default();
    let latest = latest.as_deref().unwrap_or_default();
    let place = |message: &&StoredMessage| (message.timestamp, message.id);
    let newest = newest_match.iter().chain(latest.first()).max_by_key(place);
    let newest = newest.map(events::event_id).unwrap_or_default();
    let id = access.scope().device;
    let own = format!("{}/devices/{id}", visitor.base());
    let mut rest = format!("&after={newest}");
    let (mut line, mut path) = (format!("iottly tail {id}"), format!("/device/{id}/events"));
    if !text.is_empty() {
        rest += &format!("&filter={}", text::escaped(text));
    }
    let filter = lane.filter(text);
    if !filter.is_empty() {
        line += &format!(" --filter {}", word(&filter));
        path += &format!("?filter={}", text::escaped(&filter));
    }
    let reported = access.services().health.of(access.scope()).await;
    let reported = reported.map_err(ApiError::from);
    let content = html! {
        (health(&reported, &visitor.base(), clock::now()))
        (filter_box("messages", &FilterBox {
            action: &own,
            text,
            placeholder: "temperature>30 or door:open",
            result: html! { @if json.is_some() { b { "Messages that match" } } @else { b { "All messages" } } },
            json: json.as_deref(),
            problem: problem.as_deref(),
            examples: MESSAGES_LANGUAGE.suggestions("").collect(),
        }))
        @if let Err(error) = &read { section.card data-flush { (broken("The stored messages could not be read", error.message())) } }
        (feed(messages, &format!("Messages of {}", access.device().name), &own, (text, Some(lane), hidden)))
        (script(&line, ("GET", &path, None)))
    };
    let tab = Tab {
        path: "",
        events: Some(if problem.is_some() { String::new() } else { rest }),
        scripts: &["feed.js", "suggest.js"],
        content,
    };
    tab.respond(visitor, &access).await
}

/// Returns the list; `filter` is its text, its lane, none for a page without lanes, and the number of messages of the other lane among those shown.
pub(super) fn feed(
    messages: &[StoredMessage],
    label: &str,
    own: &str,
    (filter, lane, hidden): (&str, Option<Lane>, usize),
) -> Markup {
    let history = if filter.is_empty() {
        format!("{own}/history")
    } else {
        format!("{own}/history?filter={}", text::escaped(filter))
    };
    html! {
        section.section aria-labelledby="live" {
            div.section-head { h2 #live { "Live" } span.soft { "Newest first, times in UTC" } }
            live-feed.card data-flush data-show=[lane.and_then(Lane::name)] data-hidden=[(hidden > 0).then_some(hidden)] {
                div.card-head {
                    span.actions {
                        button type="button" data-size="s" data-pause aria-pressed="false" hidden { (icon(Icon::Pause)) "Pause " kbd { "p" } }
                        a.button data-size="s" href=(history) { "Open in history" }
                    }
                    @if let Some(lane) = lane { (lanes(own, filter, lane)) }
                    span.soft.small data-counts role="status" { @if let Some(hidden) = lane.and_then(|lane| lane.hidden(hidden)) { (hidden) } }
                }
                ol.stream aria-label=(label) { @for stored in messages { (message(stored, None)) } }
                @if messages.is_empty() && filter.is_empty() { p.empty.soft { "Messages appear here as the device sends them." } }
                @else if messages.is_empty() { p.empty.soft { "Nothing has matched yet. Messages that match appear here as the device sends them." } }
                div.card-foot { span data-skipped role="status" {} a href=(history) { "Older messages" } }
            }
        }
    }
}
