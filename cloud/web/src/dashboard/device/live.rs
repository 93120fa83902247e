//! The tab with a device's newest messages, live.

use axum::extract::Path;
use axum::response::Response;
use iottly_core::model::StoredMessage;
use maud::{Markup, html};

use super::super::events;
use super::super::kit::empty::{broken, part};
use super::super::kit::icons::{Icon, icon};
use super::super::kit::script::script;
use super::super::kit::stream::message;
use super::super::layout::failure;
use super::super::visitor::Visitor;
use super::Tab;
use crate::api;
use crate::error::ApiError;

/// Number of messages that the server renders.
const MESSAGES: usize = 50;

pub(in super::super) async fn show(visitor: Visitor, Path((_, id)): Path<(String, String)>) -> Response {
    page(&visitor, &id).await.unwrap_or_else(|error| failure(&error))
}

async fn page(visitor: &Visitor, id: &str) -> Result<Response, ApiError> {
    let access = visitor.device(id).await?;
    let asked = api::Page {
        limit: MESSAGES,
        filter: None,
        before: None,
    };
    let read = part(api::page(access.services(), access.scope(), &asked).await)?;
    let messages = read
        .as_ref()
        .map(|page| page.messages.as_slice())
        .unwrap_or_default();
    let newest = messages.first().map(events::event_id).unwrap_or_default();
    let id = access.scope().device;
    let own = format!("{}/devices/{id}", visitor.base());
    let content = html! {
        @if let Err(error) = &read { section.card data-flush { (broken("The stored messages could not be read", error.message())) } }
        (feed(messages, &format!("Messages of {}", access.device().name), &own))
        (script(&format!("iottly tail {id}"), ("GET", &format!("/device/{id}/events"), None)))
    };
    let tab = Tab {
        path: "",
        events: Some(format!("&after={newest}")),
        scripts: &["feed.js"],
        content,
    };
    tab.respond(visitor, &access).await
}

pub(super) fn feed(messages: &[StoredMessage], label: &str, own: &str) -> Markup {
    html! {
        section.section aria-labelledby="live" {
            div.section-head { h2 #live { "Live" } span.soft { "Newest first, times in UTC" } }
            live-feed.card data-flush {
                div.card-head {
                    span.actions {
                        button type="button" data-size="s" data-pause aria-pressed="false" hidden { (icon(Icon::Pause)) "Pause " kbd { "p" } }
                        a.button data-size="s" href={ (own) "/history" } { "Open in history" }
                    }
                    span.soft.small data-counts role="status" {}
                }
                ol.stream aria-label=(label) { @for stored in messages { (message(stored, None)) } }
                @if messages.is_empty() { p.empty.soft { "Messages appear here as the device sends them." } }
                div.card-foot { span data-skipped role="status" {} a href={ (own) "/history" } { "Older messages" } }
            }
        }
    }
}
