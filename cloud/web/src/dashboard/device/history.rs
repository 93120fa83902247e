//! The tab with a device's stored messages, filtered, page by page.

use axum::extract::{Path, Query};
use axum::response::Response;
use iottly_core::short_form::MESSAGES;
use maud::{Markup, html};
use serde::Deserialize;

use super::super::kit::csv::csv_link;
use super::super::kit::empty::{broken, empty};
use super::super::kit::filter::{FilterBox, filter_box};
use super::super::kit::script::{script, word};
use super::super::kit::stream::message;
use super::super::layout::failure;
use super::super::text;
use super::super::visitor::Visitor;
use super::Tab;
use crate::api;
use crate::error::ApiError;

/// Number of messages of a page.
const MESSAGES_SHOWN: usize = 100;

/// Query of the page.
#[derive(Deserialize)]
pub(in super::super) struct Asked {
    filter: Option<String>,
    before: Option<String>,
}

pub(in super::super) async fn show(
    visitor: Visitor,
    Path((_, id)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Response {
    page(&visitor, &id, &asked)
        .await
        .unwrap_or_else(|error| failure(&error))
}

async fn page(visitor: &Visitor, id: &str, asked: &Asked) -> Result<Response, ApiError> {
    let access = visitor.device(id).await?;
    let text = asked.filter.as_deref().unwrap_or_default().trim();
    let (json, problem) = match MESSAGES.translate(text) {
        Ok(json) => (Some(json).filter(|_| !text.is_empty()), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let wanted = api::Page {
        limit: MESSAGES_SHOWN,
        filter: json.as_deref(),
        before: asked.before.as_deref(),
    };
    let mut failed = None;
    let (messages, next, problem) = match (
        problem,
        api::page(access.services(), access.scope(), &wanted).await,
    ) {
        (Some(problem), _) => (Vec::new(), None, Some(problem)),
        (None, Ok(found)) => (found.messages, found.next, None),
        (None, Err(error)) if error.status().is_client_error() => {
            (Vec::new(), None, Some(error.message().to_owned()))
        }
        (None, Err(error)) => {
            failed = Some(error);
            (Vec::new(), None, None)
        }
    };
    let id = access.scope().device;
    let own = format!("{}/devices/{id}/history", visitor.base());
    let more = next.map(|next| format!("{own}?before={next}&filter={}", text::escaped(text)));
    let content = html! {
        (filter_box("messages", &FilterBox {
            action: &own,
            text,
            placeholder: "temperature>30 at>2026-11-26",
            result: html! { @if failed.is_none() { b { (messages.len()) " messages" @if more.is_some() { ", and older ones" } } } },
            json: json.as_deref(),
            problem: problem.as_deref(),
            examples: MESSAGES.suggestions("").collect(),
        }))
        section.card data-flush {
            @if let Some(error) = &failed {
                (broken("The messages could not be read", error.message()))
            } @else if messages.is_empty() && problem.is_none() && more.is_none() {
                @if text.is_empty() { (empty("No messages", "The device has sent nothing yet.", &html! {})) }
                @else { (empty("No message matches", "None of the stored messages of this device matches the filter.", &html! { a.button href=(own) { "Show all messages" } })) }
            } @else {
                ol.stream { @for stored in &messages { (message(stored, None)) } }
            }
            div.card-foot { span { "Newest first, times in UTC" } (csv_link(&format!("{}/csv/messages?device={id}&filter={}", visitor.base(), text::escaped(text)), "messages.csv")) @if let Some(more) = &more { a href=(more) { "Older messages" } } }
        }
        (same(&id.to_string(), text))
    };
    let tab = Tab {
        path: "/history",
        events: None,
        scripts: &["json.js", "suggest.js"],
        content,
    };
    tab.respond(visitor, &access).await
}

/// Returns the box with the same messages from a script.
fn same(device: &str, filter: &str) -> Markup {
    let (mut line, mut path) = (format!("iottly history {device}"), format!("/messages/{device}"));
    if !filter.is_empty() {
        line += &format!(" --filter {}", word(filter));
        path += &format!("?queryJson={}", text::escaped(filter));
    }
    script(&line, ("GET", &path, None))
}
