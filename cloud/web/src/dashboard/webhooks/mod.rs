//! Webhooks of a project: the list with a form for a new one, and a page for each.

mod one;
mod portals;
mod settings;

pub(super) use one::{act, origin, show};

use axum::response::{IntoResponse, Response};
use iottly_core::model::Scopes;
use iottly_protocol::Secret;
use maud::{Markup, html};

use super::forms::Fields;
use super::kit::csv::csv_link;
use super::kit::empty::{empty, part, shown};
use super::kit::notice::{Tone, notice};
use super::kit::script::{script, snippet};
use super::layout::failure;
use super::shell::{Screen, Section};
use super::visitor::Visitor;
use crate::api::body::JsonBody;
use crate::api::dto::WebhookDto;
use crate::api::webhooks as rest;
use crate::error::ApiError;

pub(super) async fn list(visitor: Visitor) -> Response {
    page(&visitor, None, None)
        .await
        .unwrap_or_else(|error| failure(&error))
}

async fn page(
    visitor: &Visitor,
    secret: Option<&Secret>,
    problem: Option<(&ApiError, &Fields)>,
) -> Result<Response, ApiError> {
    let webhooks = part(rest::all(visitor.project.clone()).await)?.map(|list| list.0.webhooks);
    let count = webhooks.as_ref().ok().map(Vec::len);
    let own = format!("{}/webhooks", visitor.base());
    let content = html! {
        div.head { div {
            h1 { "Webhooks " @if let Some(count) = count { span.count { (count) } } }
            p.lede { "A webhook posts every message to a program of yours, signed, again until it is taken." }
        } div.actions { (csv_link(&format!("{}/csv/webhooks", visitor.base()), "webhooks.csv")) } }
        @if let Some(secret) = secret { (new_secret(secret)) }
        @if let Some((problem, _)) = &problem { (notice(Tone::Bad, &html! { (problem.message()) })) }
        section.card data-flush {
            live-part #webhook-list data-on="webhook" data-least="2" { (shown(&webhooks, "The webhooks could not be read", |webhooks| html! { @if webhooks.is_empty() { (empty("No webhooks yet", "Add one below. A receiver answers with 2xx; anything else is tried again.", &html! {})) }
            @else { (table(webhooks, &own)) } })) }
        }
        @if visitor.may(Scopes::WRITE) {
            details.card open[count == Some(0) || problem.is_some()] {
                summary { b { "Add a webhook" } }
                form.stack method="post" action=(own) {
                    (settings::fields(None, problem.map(|(_, fields)| fields)))
                    div.actions { button data-kind="main" { "Add the webhook" } }
                }
            }
        }
        (script("iottly webhook add https://example.com/hook", ("POST", "/webhooks", Some(r#"{"url":"https://example.com/hook"}"#))))
    };
    screen(visitor, "Webhooks", &[], content).respond(visitor).await
}

fn screen<'a>(
    visitor: &Visitor,
    title: &'a str,
    crumbs: &'a [(&'a str, String)],
    content: Markup,
) -> Screen<'a> {
    Screen {
        section: Section::Webhooks,
        title,
        crumbs,
        events: Some(format!("{}/events?messages=none&quiet=1", visitor.base())),
        scripts: &["suggest.js"],
        content,
    }
}

fn new_secret(secret: &Secret) -> Markup {
    html! {
        (notice(Tone::Good, &html! { "Requests are signed with this secret. Copy it now; it is not shown again." }))
        (snippet(secret.expose()))
    }
}

fn table(webhooks: &[WebhookDto], own: &str) -> Markup {
    html! {
        table.table data-rows="link" {
            caption.sr { "Webhooks, oldest first" }
            thead { tr { th { "Receiver" } th { "State" } th.p2 { "Messages" } th.num { "Waiting" } th.num.p2 { "Failed" } } }
            tbody { @for webhook in webhooks { tr {
                td { a.row-link href={ (own) "/" (webhook.id) } { (name(webhook)) } span.sub.break { (webhook.url) } }
                td { (state(webhook)) }
                td.p2 { (webhook.kind) @if webhook.channel != "*" { " " code { (webhook.channel) } } }
                td.num { (webhook.waiting) }
                td.num.p2 { (webhook.failed) }
            } } }
        }
    }
}

fn name(webhook: &WebhookDto) -> &str {
    if webhook.description.is_empty() {
        &webhook.url
    } else {
        &webhook.description
    }
}

fn state(webhook: &WebhookDto) -> Markup {
    let (tone, word) = if !webhook.enabled {
        ("idle", "off")
    } else if webhook.failing_since.is_some() {
        ("warn", "failing")
    } else {
        ("good", "delivering")
    };
    html! { span.tag data-tone=(tone) { (word) } }
}

/// Adds the webhook of the form and shows its secret.
pub(super) async fn create(visitor: Visitor, fields: Fields) -> Response {
    let made = async {
        let settings = match settings::typed(&fields, true) {
            Ok(settings) => settings,
            Err(error) => return refused(&visitor, &error, &fields).await,
        };
        match rest::create(visitor.project.clone(), JsonBody(settings)).await {
            Ok(made) => page(&visitor, Some(&made.0.secret), None).await,
            Err(error) if error.status().is_client_error() => refused(&visitor, &error, &fields).await,
            Err(error) => Err(error),
        }
    };
    made.await.unwrap_or_else(|error: ApiError| failure(&error))
}

async fn refused(visitor: &Visitor, error: &ApiError, fields: &Fields) -> Result<Response, ApiError> {
    let page = page(visitor, None, Some((error, fields))).await?;
    Ok((error.status(), page).into_response())
}
