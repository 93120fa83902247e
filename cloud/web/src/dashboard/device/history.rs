//! The tab with a device's stored messages, filtered, page by page.

use axum::extract::{Path, Query};
use axum::response::Response;
use maud::html;
use serde::Deserialize;

use super::super::kit::empty::empty;
use super::super::kit::icons::{Icon, icon};
use super::super::kit::script::script;
use super::super::kit::stream::message;
use super::super::layout::failure;
use super::super::text;
use super::super::visitor::Visitor;
use super::Tab;
use crate::api;
use crate::error::ApiError;

/// Number of messages of a page.
const MESSAGES: usize = 100;

/// What a page shows.
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
    let filter = asked
        .filter
        .as_deref()
        .map(str::trim)
        .filter(|filter| !filter.is_empty());
    let wanted = api::Page {
        limit: MESSAGES,
        filter,
        before: asked.before.as_deref(),
    };
    let (messages, next, problem) = match api::page(access.services(), access.scope(), &wanted).await {
        Ok(found) => (found.messages, found.next, None),
        Err(error) if error.status().is_client_error() => (Vec::new(), None, Some(error)),
        Err(error) => return Err(error),
    };
    let id = access.scope().device;
    let own = format!("{}/devices/{id}/history", visitor.base());
    let more = next.map(|next| {
        let filter = filter.map(|filter| format!("&filter={}", text::escaped(filter)));
        format!("{own}?before={next}{}", filter.unwrap_or_default())
    });
    let content = html! {
        form.filter role="search" action=(own) {
            div.filter-box {
                (icon(Icon::Filter))
                label.sr for="f" { "Filter" }
                input #f name="filter" value=(filter.unwrap_or_default()) placeholder=r#"{"payload.temperature": {"$gt": 30}}"# autocomplete="off" spellcheck="false"
                    aria-invalid=[problem.as_ref().map(|_| "true")] aria-describedby="f-note";
                button data-kind="plain" { "Apply" }
            }
            p.filter-note #f-note {
                @match &problem { Some(error) => span.problem role="alert" { (error.message()) }, None => span { b { (messages.len()) " messages" } } }
            }
        }
        section.card data-flush {
            @if messages.is_empty() {
                (empty("No messages", if filter.is_some() { "No stored message matches the filter." } else { "The device has sent nothing yet." },
                    &html! { @if filter.is_some() { a.button href=(own) { "Show all messages" } } }))
            } @else {
                ol.stream { @for stored in &messages { (message(stored, None)) } }
            }
            div.card-foot { span { "Newest first, times in UTC" } @if let Some(more) = &more { a href=(more) { "Older messages" } } }
        }
        (script(&format!("iottly history {id}"), ("GET", &format!("/device/{id}/messages"), None)))
    };
    let tab = Tab {
        path: "/history",
        events: None,
        scripts: &[],
        content,
    };
    tab.respond(visitor, &access).await
}
