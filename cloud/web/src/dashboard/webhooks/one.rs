//! The page of a webhook: its queue, its delivery log with replays, its settings, a test, and its secret.

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Redirect, Response};
use iottly_core::model::{Scopes, UnixMs, WebhookAttempt};
use maud::{Markup, html};
use serde::Deserialize;

use super::super::forms::Fields;
use super::super::kit::csv::csv_link;
use super::super::kit::empty::empty;
use super::super::kit::figure::{Figure, figures};
use super::super::kit::notice::{Tone, notice};
use super::super::kit::question::{Question, question};
use super::super::kit::script::script;
use super::super::layout::failure;
use super::super::text;
use super::super::visitor::Visitor;
use super::{name, new_secret, portals, screen, settings, state};
use crate::api::body::JsonBody;
use crate::api::dto::{ReplayBody, WebhookDto};
use crate::api::{portals as portals_rest, webhook_deliveries as deliveries, webhooks as rest};
use crate::app::App;
use crate::error::ApiError;
use iottly_cloud::clock;
use iottly_protocol::Secret;

/// Number of attempts on the page; the API has the older ones.
const ATTEMPTS: usize = 50;

/// Cursor of the delivery log.
#[derive(Deserialize)]
pub(in super::super) struct Asked {
    before: Option<u64>,
}

/// Result of an action, shown above the page.
enum Outcome {
    Good(String),
    Bad(String),
    NewSecret(Secret),
    /// Path of a new portal's link, and the origin under which the visitor reaches the cloud.
    NewLink(String, Option<String>),
}

pub(in super::super) async fn show(
    visitor: Visitor,
    Path((_, id)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Response {
    page(&visitor, &id, asked.before, None)
        .await
        .unwrap_or_else(|error| failure(&error))
}

async fn page(
    visitor: &Visitor,
    id: &str,
    before: Option<u64>,
    outcome: Option<Outcome>,
) -> Result<Response, ApiError> {
    let access = &visitor.project;
    let path = || Path((access.id().to_string(), id.to_owned()));
    let webhook = rest::show(access.clone(), path()).await?.0.webhook;
    let key = rest::named(access, id).await?.hook.key;
    let attempts = access
        .services()
        .store
        .webhook_attempts(key, before, ATTEMPTS)
        .await?;
    let open = portals_rest::all(access.clone(), path()).await?.0.portals;
    let list = format!("{}/webhooks", visitor.base());
    let own = format!("{list}/{id}");
    let may = visitor.may(Scopes::WRITE);
    let content = html! {
        div.head {
            div {
                h1 { (name(&webhook)) " " (state(&webhook)) }
                ul.meta { li { code.break { (webhook.url) } } li { span.mono { (webhook.id) } } }
            }
            @if may { form.actions method="post" action=(own) {
                button name="do" value="test" { "Send a test" }
                button name="do" value="rotate" { "New secret…" }
                button data-kind="danger" name="do" value="delete" { "Delete…" }
            } }
        }
        @match &outcome {
            Some(Outcome::Good(text)) => (notice(Tone::Good, &html! { (text) })),
            Some(Outcome::Bad(text)) => (notice(Tone::Bad, &html! { (text) })),
            Some(Outcome::NewSecret(secret)) => (new_secret(secret)),
            Some(Outcome::NewLink(path, origin)) => (portals::new_link(path, origin.as_deref())),
            None => {},
        }
        @if let Some(reason) = &webhook.disabled_reason { (notice(Tone::Warn, &html! { "Off: " (reason) })) }
        live-part #webhook-numbers data-on="webhook" { (numbers(&webhook)) }
        live-part #webhook-log data-on="webhook" { (log(&attempts, (&own, &format!("{}/csv/attempts?webhook={id}", visitor.base())), may, &webhook)) }
        (portals::part(&open, &own, may))
        @if may { details.card { summary { b { "Settings" } } form.stack method="post" action=(own) {
            (settings::fields(Some(&webhook), None))
            div.actions { button data-kind="main" name="do" value="save" { "Save" } }
        } } }
        (script(&format!("iottly webhook log {id}"), ("GET", &format!("/webhooks/{id}/log"), None)))
        (portals::script(id))
    };
    let crumbs = [("Webhooks", list)];
    screen(visitor, name(&webhook), &crumbs, content)
        .respond(visitor)
        .await
}

fn numbers(webhook: &WebhookDto) -> Markup {
    let figure = |name, value: u64, aside: Markup, tone| Figure {
        name,
        value: value.to_string(),
        unit: html! {},
        aside,
        href: None,
        tone,
        live: None,
    };
    let failing = webhook
        .failing_since
        .as_ref()
        .map(|since| text::ago(since.at(), clock::now()));
    figures(&[
        figure(
            "Waiting",
            webhook.waiting,
            html! { @match &webhook.next_attempt { Some(at) => { "next attempt " time datetime=(text::iso(at.at())) { (text::clock(at.at())) } }, None => "nothing to send" } },
            None,
        ),
        figure(
            "Failed, kept for a replay",
            webhook.failed,
            html! { @match &failing { Some(since) => { "every attempt fails since " (since) }, None => "" } },
            (webhook.failed > 0).then_some("warn"),
        ),
        figure(
            "Dropped",
            webhook.dropped,
            html! { "too many waited" },
            (webhook.dropped > 0).then_some("bad"),
        ),
        figure("Skipped", webhook.skipped, html! { "while it was off" }, None),
    ])
}

fn log(attempts: &[WebhookAttempt], (own, csv): (&str, &str), may: bool, webhook: &WebhookDto) -> Markup {
    html! {
        section.card data-flush aria-labelledby="log" {
            div.card-head {
                h2 #log { "Delivery log" }
                (csv_link(csv, "attempts.csv"))
                @if may && webhook.failed > 0 { form method="post" action=(own) { button data-size="s" name="do" value="replay_failed" { "Replay the " (webhook.failed) " that failed" } } }
            }
            @if attempts.is_empty() { (empty("No attempts yet", "Each attempt to deliver a message is listed here, with the answer of the receiver.", &html! {})) }
            @else {
                table.table data-fold {
                    thead { tr { th { "Time" } th { "Result" } th.p2 { "Message" } th.num.p3 { "Attempt" } th.num.p2 { "Took" } th { span.sr { "Action" } } } }
                    tbody { @for attempt in attempts { tr {
                        td.nowrap { time datetime=(text::iso(attempt.at)) { (text::clock(attempt.at)) } }
                        td { span.tag data-reason data-tone=(if attempt.result.starts_with("http_2") { "good" } else { "bad" }) { (attempt.result) }
                            @if !attempt.answer.is_empty() { span.sub.break { (attempt.answer) } } }
                        td.p2 { code { (attempt.message) } }
                        td.num.p3 { (attempt.attempt) }
                        td.num.p2 { (attempt.millis) " ms" }
                        td { @if may { span.actions { form method="post" action=(own) {
                            input type="hidden" name="message" value=(attempt.message);
                            button data-size="s" name="do" value="replay" { "Replay" }
                        } } } }
                    } } }
                }
            }
            div.card-foot { span { "Newest first, times in UTC" }
                @if attempts.len() == ATTEMPTS && let Some(last) = attempts.last() { a.button data-size="s" href={ (own) "?before=" (last.number) } { "Older attempts" } }
            }
        }
    }
}

/// Does what the pressed button says.
pub(in super::super) async fn act(
    visitor: Visitor,
    State(app): State<App>,
    Path((_, id)): Path<(String, String)>,
    headers: HeaderMap,
    fields: Fields,
) -> Response {
    let origin = origin(&headers, app.services.https);
    acted(&visitor, &id, &fields, origin)
        .await
        .unwrap_or_else(|error| failure(&error))
}

/// Returns the origin under which a request reaches the cloud.
fn origin(headers: &HeaderMap, https: bool) -> Option<String> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    Some(format!("{}://{host}", if https { "https" } else { "http" }))
}

async fn acted(
    visitor: &Visitor,
    id: &str,
    fields: &Fields,
    origin: Option<String>,
) -> Result<Response, ApiError> {
    let access = visitor.project.clone();
    let path = Path((access.id().to_string(), id.to_owned()));
    let sure = fields.get("sure") == Some("yes");
    let outcome = match fields.get("do").unwrap_or_default() {
        "test" => {
            let tested = deliveries::test(access, path).await?.0;
            let attempt = tested.attempt;
            if tested.delivered {
                Outcome::Good(format!(
                    "The receiver took the test: {} in {} ms.",
                    attempt.result, attempt.milliseconds
                ))
            } else {
                Outcome::Bad(format!(
                    "The test was not taken: {} {}",
                    attempt.result, attempt.answer
                ))
            }
        }
        "replay" => {
            let body = ReplayBody {
                message: fields.get("message").map(str::to_owned),
                failed_since: None,
            };
            replayed(deliveries::replay(access, path, JsonBody(body)).await?.0.replayed)
        }
        "replay_failed" => {
            let body = ReplayBody {
                message: None,
                failed_since: Some(UnixMs::MIN),
            };
            replayed(deliveries::replay(access, path, JsonBody(body)).await?.0.replayed)
        }
        "portal" => Outcome::NewLink(portals_rest::open(access, path).await?.0.path, origin),
        "close_portal" => {
            let portal = fields.get("portal").unwrap_or_default().to_owned();
            let Path((project, hook)) = path;
            portals_rest::close(access, Path((project, hook, portal))).await?;
            Outcome::Good("The link is closed.".to_owned())
        }
        "rotate" if sure => Outcome::NewSecret(rest::rotate(access, path).await?.0.secret),
        "delete" if sure => {
            rest::delete(access, path).await?;
            return Ok(Redirect::to(&format!("{}/webhooks", visitor.base())).into_response());
        }
        verb @ ("rotate" | "delete") => return asked(visitor, id, verb).await,
        _ => match settings::typed(fields, true) {
            Ok(settings) => match rest::update(access, path, JsonBody(settings)).await {
                Ok(_) => Outcome::Good("Saved, for messages from now on.".to_owned()),
                Err(error) if error.status().is_client_error() => Outcome::Bad(error.message().to_owned()),
                Err(error) => return Err(error),
            },
            Err(error) => Outcome::Bad(error.message().to_owned()),
        },
    };
    page(visitor, id, None, Some(outcome)).await
}

fn replayed(count: u64) -> Outcome {
    Outcome::Good(format!(
        "{count} deliveries are sent again, under their message ids."
    ))
}

/// Asks before a secret is replaced or a webhook is deleted.
async fn asked(visitor: &Visitor, id: &str, verb: &str) -> Result<Response, ApiError> {
    let list = format!("{}/webhooks", visitor.base());
    let own = format!("{list}/{id}");
    let (heading, text, button) = if verb == "rotate" {
        (
            "Replace the secret of this webhook?",
            "For one day requests are signed with both secrets.",
            "Replace the secret",
        )
    } else {
        (
            "Delete this webhook?",
            "Deliveries that wait are deleted with it. The messages stay in the history.",
            "Delete the webhook",
        )
    };
    let form = question(&Question {
        heading,
        text: &html! { p { (text) } },
        action: &own,
        fields: &[("do".to_owned(), verb.to_owned())],
        button,
        back: ("Back, change nothing", &own),
    });
    let crumbs = [("Webhooks", list)];
    screen(visitor, heading, &crumbs, form).respond(visitor).await
}
