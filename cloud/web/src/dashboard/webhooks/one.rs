//! The page of a webhook: its queue, its delivery log with replays, its settings, a test, and its secret.

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use iottly_core::model::{Scopes, UnixMs, WebhookAttempt};
use maud::{Markup, html};
use serde::Deserialize;

use super::super::forms::Fields;
use super::super::kit::csv::csv_link;
use super::super::kit::empty::{broken, empty};
use super::super::kit::figure::{Figure, figures};
use super::super::kit::notice::{Tone, notice};
use super::super::kit::question::{Question, question};
use super::super::kit::script::{quoted, script, script_for};
use super::super::layout::failure;
use super::super::text;
use super::super::visitor::Visitor;
use super::{name, new_secret, portals, screen, settings, state};
use crate::api::body::JsonBody;
use crate::api::dto::{ReplayBody, WebhookDto};
use crate::api::{portals as portals_rest, webhook_deliveries as deliveries, webhooks as rest};
use crate::app::App;
use crate::auth::ProjectAccess;
use crate::error::ApiError;
use iottly_cloud::clock;
use iottly_protocol::Secret;

/// Number of attempts on the page; the API has the older ones.
const ATTEMPTS: usize = 50;

/// Cursor of the delivery log, and the action that led to the page.
#[derive(Default, Deserialize)]
pub(in super::super) struct Asked {
    before: Option<u64>,
    done: Option<String>,
    /// Message of a test.
    message: Option<String>,
    /// Number of deliveries of a replay.
    count: Option<u64>,
}

/// Result of an action that cannot be shown by another request: a secret, or what was refused.
enum Outcome {
    NewSecret(Secret),
    /// Path of a new portal's link, and the origin under which the visitor reaches the cloud.
    NewLink(String, Option<String>),
    Refused(ApiError),
    /// Settings that were refused, as they were typed.
    RefusedSettings(ApiError, Fields),
}

pub(in super::super) async fn show(
    visitor: Visitor,
    Path((_, id)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Response {
    page(&visitor, &id, &asked, None)
        .await
        .unwrap_or_else(|error| failure(&error))
}

async fn page(
    visitor: &Visitor,
    id: &str,
    asked: &Asked,
    outcome: Option<Outcome>,
) -> Result<Response, ApiError> {
    let access = &visitor.project;
    let path = || Path((access.id().to_string(), id.to_owned()));
    let webhook = rest::show(access.clone(), path()).await?.0.webhook;
    let key = rest::named(access, id).await?.hook.key;
    // Parts that cannot be read leave the others.
    let store = &access.services().store;
    let attempts = store.webhook_attempts(key, asked.before, ATTEMPTS).await;
    let attempts = attempts.map_err(ApiError::from);
    let open = portals_rest::all(access.clone(), path()).await;
    let list = format!("{}/webhooks", visitor.base());
    let own = format!("{list}/{id}");
    let may = visitor.may(Scopes::WRITE);
    let typed = match &outcome {
        Some(Outcome::RefusedSettings(_, fields)) => Some(fields),
        _ => None,
    };
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
            Some(Outcome::Refused(error) | Outcome::RefusedSettings(error, _)) => (notice(Tone::Bad, &html! { (error.message()) })),
            Some(Outcome::NewSecret(secret)) => (new_secret(secret)),
            Some(Outcome::NewLink(path, origin)) => (portals::new_link(path, origin.as_deref())),
            None => (done(asked, attempts.as_deref().unwrap_or_default())),
        }
        @if let Some(reason) = &webhook.disabled_reason { (notice(Tone::Warn, &html! { "Off: " (reason) })) }
        live-part #webhook-numbers data-on="webhook" { (numbers(&webhook)) }
        live-part #webhook-log data-on="webhook" { @match &attempts {
            Ok(attempts) => (log(attempts, (&own, &format!("{}/csv/attempts?webhook={id}", visitor.base())), may, &webhook)),
            Err(error) => section.card data-flush { (broken("The delivery log could not be read", error.message())) },
        } }
        @match &open {
            Ok(open) => (portals::part(&open.0.portals, &own, may)),
            Err(error) => section.card data-flush { (broken("The links for people outside could not be read", error.message())) },
        }
        @if may { details.card open[typed.is_some()] { summary { b { "Settings" } } form.stack method="post" action=(own) {
            (settings::fields(Some(&webhook), typed))
            div.actions { button data-kind="main" name="do" value="save" { "Save" } }
        } } }
        (scripts(&webhook))
    };
    let status = match &outcome {
        Some(Outcome::Refused(error) | Outcome::RefusedSettings(error, _)) => error.status(),
        _ => StatusCode::OK,
    };
    let crumbs = [("Webhooks", list)];
    let page = screen(visitor, name(&webhook), &crumbs, content)
        .respond(visitor)
        .await?;
    Ok((status, page).into_response())
}

/// Returns the notice of the action that led to the page.
fn done(asked: &Asked, attempts: &[WebhookAttempt]) -> Markup {
    let tested = attempts
        .iter()
        .find(|attempt| asked.message.as_ref() == Some(&attempt.message.to_string()));
    let (tone, words) = match (asked.done.as_deref(), tested) {
        (Some("saved"), _) => (Tone::Good, "Saved, for messages from now on.".to_owned()),
        (Some("closed"), _) => (Tone::Good, "The link is closed.".to_owned()),
        (Some("replayed"), _) => (
            Tone::Good,
            format!(
                "{} deliveries are sent again, under their message ids.",
                asked.count.unwrap_or(0)
            ),
        ),
        (Some("tested"), Some(attempt)) if attempt.result.starts_with("http_2") => (
            Tone::Good,
            format!(
                "The receiver took the test: {} in {} ms.",
                attempt.result, attempt.millis
            ),
        ),
        (Some("tested"), Some(attempt)) => (
            Tone::Bad,
            format!("The test was not taken: {} {}", attempt.result, attempt.answer),
        ),
        (Some("tested"), None) => (
            Tone::Good,
            "The test was sent. Its attempt is listed below in a moment.".to_owned(),
        ),
        _ => return html! {},
    };
    notice(tone, &html! { (words) })
}

/// Returns the boxes with the same actions from a script.
fn scripts(webhook: &WebhookDto) -> Markup {
    let (id, own) = (webhook.id, format!("/webhooks/{}", webhook.id));
    let to = |below: &str| format!("{own}{below}");
    let settings = serde_json::json!({"description": webhook.description}).to_string();
    html! {
        (script(&format!("iottly webhook log {id}"), ("GET", &to("/log"), None)))
        (script_for("send a test", &format!("iottly webhook test {id}"), ("POST", &to("/test"), None)))
        (script_for("replay what failed since a time", &format!("iottly webhook replay {id} --failed-since 1795691111824"),
            ("POST", &to("/replay"), Some(r#"{"failed_since":1795691111824}"#))))
        (script_for("change the settings", &format!("iottly webhook set {id} --description {}", quoted(&webhook.description)), ("PUT", &own, Some(&settings))))
        (script_for("replace the secret", &format!("iottly webhook rotate {id}"), ("POST", &to("/secret/rotate"), None)))
        (script_for("delete", &format!("iottly webhook remove {id}"), ("DELETE", &own, None)))
        (portals::script(&id.to_string()))
    }
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
            @if may { form.card-foot method="post" action=(own) {
                label for="since" { "Send again all that failed or was skipped since, in UTC" }
                span.actions {
                    input #since name="since" type="datetime-local" required;
                    button data-size="s" name="do" value="replay_since" { "Send again" }
                }
            } }
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
    acted(&visitor, &id, fields, origin)
        .await
        .unwrap_or_else(|error| failure(&error))
}

/// Returns the origin under which a request reaches the cloud.
pub(in super::super) fn origin(headers: &HeaderMap, https: bool) -> Option<String> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    Some(format!("{}://{host}", if https { "https" } else { "http" }))
}

async fn acted(
    visitor: &Visitor,
    id: &str,
    fields: Fields,
    origin: Option<String>,
) -> Result<Response, ApiError> {
    let access = visitor.project.clone();
    let path = Path((access.id().to_string(), id.to_owned()));
    let sure = fields.get("sure") == Some("yes");
    let shown = async |outcome| page(visitor, id, &Asked::default(), Some(outcome)).await;
    // Only what must not be in an address is shown by this very request; after all else another page may be loaded again.
    let done = match fields.get("do").unwrap_or_default() {
        "test" => {
            let tested = deliveries::test(access, path).await?.0;
            format!("tested&message={}", tested.attempt.message)
        }
        verb @ ("replay" | "replay_failed" | "replay_since") => {
            let body = match replay(verb, &fields) {
                Ok(body) => body,
                Err(error) => return shown(Outcome::Refused(error)).await,
            };
            match deliveries::replay(access, path, JsonBody(body)).await {
                Ok(replayed) => format!("replayed&count={}", replayed.0.replayed),
                Err(error) if error.status().is_client_error() => {
                    return shown(Outcome::Refused(error)).await;
                }
                Err(error) => return Err(error),
            }
        }
        "portal" => {
            return shown(Outcome::NewLink(
                portals_rest::open(access, path).await?.0.path,
                origin,
            ))
            .await;
        }
        "close_portal" => {
            let portal = fields.get("portal").unwrap_or_default().to_owned();
            let Path((project, hook)) = path;
            portals_rest::close(access, Path((project, hook, portal))).await?;
            "closed".to_owned()
        }
        "rotate" if sure => {
            return shown(Outcome::NewSecret(rest::rotate(access, path).await?.0.secret)).await;
        }
        "delete" if sure => {
            rest::delete(access, path).await?;
            return Ok(Redirect::to(&format!("{}/webhooks", visitor.base())).into_response());
        }
        verb @ ("rotate" | "delete") => return asked(visitor, id, verb).await,
        _ => match save(access, path, &fields).await {
            Ok(()) => "saved".to_owned(),
            Err(error) if error.status().is_client_error() => {
                return shown(Outcome::RefusedSettings(error, fields)).await;
            }
            Err(error) => return Err(error),
        },
    };
    let own = format!("{}/webhooks/{id}?done={done}", visitor.base());
    Ok(Redirect::to(&own).into_response())
}

/// Returns the replay of a pressed button.
fn replay(verb: &str, fields: &Fields) -> Result<ReplayBody, ApiError> {
    let failed_since = match verb {
        "replay_failed" => Some(UnixMs::MIN),
        "replay_since" => {
            let since = fields.moment("since")?;
            Some(since.ok_or_else(|| ApiError::invalid("invalid_form", "since: no time is given"))?)
        }
        _ => None,
    };
    Ok(ReplayBody {
        message: failed_since
            .is_none()
            .then(|| fields.get("message").unwrap_or_default().to_owned()),
        failed_since,
    })
}

async fn save(access: ProjectAccess, path: Path<(String, String)>, fields: &Fields) -> Result<(), ApiError> {
    let settings = settings::typed(fields, true)?;
    rest::update(access, path, JsonBody(settings)).await?;
    Ok(())
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
