//! Pages of a portal: the deliveries of one webhook for people outside of the project, who have a link in place of a login.
//! The link is exchanged for a cookie that is sent to the portal's pages alone, so that its secret is in one request only.
//! Nothing else of the project can be reached with it, and no secret is shown.

use axum::Router;
use axum::extract::{Path, Query, Request, State};
use axum::http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use maud::{Markup, html};
use serde::Deserialize;

use super::forms::Fields;
use super::kit::empty::{broken, empty};
use super::kit::icons;
use super::kit::notice::{Tone, notice};
use super::layout::{IntoHtml, document, failure, security_headers};
use super::login::{address_of, too_many};
use super::text;
use super::theme::Theme;
use crate::api::portals::cookie_of;
use crate::app::App;
use crate::auth::{hash_secret, same_origin, trace_project};
use crate::cookies::cookie;
use crate::error::ApiError;
use iottly_cloud::clock;
use iottly_core::model::{
    Actor, Change, Cursor, MessageId, Portal, Principal, Replay, Scopes, StoredMessage, UnixMs, Webhook,
    WebhookAttempt, WebhookState,
};
use iottly_core::webhooks::body::body;
use iottly_core::webhooks::{headers, open_headers};

/// Name of the cookie. Its path is that of one portal, so several can be open in one browser.
const COOKIE: &str = "iottly-portal";
/// Precision with which the last use is recorded, in milliseconds: a minute.
const USED_EVERY_MS: UnixMs = 60_000;
/// Number of attempts on a page.
const ATTEMPTS: usize = 50;
/// Text of every refusal, whatever the reason.
const CLOSED: &str =
    "This link is not open. It ends a day after it was made, or when it is closed. Ask for a new one.";

/// Returns the routes of portals, with the headers of the dashboard and a stricter referrer policy.
pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/portal/open", get(ask).post(enter))
        .route("/portal/{portal}", get(show))
        .route("/portal/{portal}/messages/{message}", get(show_message))
        .route("/portal/{portal}/replay", post(replay))
        .layer(middleware::from_fn(security_headers))
        .layer(middleware::from_fn(no_path_in_referrer))
}

/// Keeps the addresses of portals out of `Referer`: other pages learn at most the origin. The policy `no-referrer` would
/// have browsers send forms with `Origin: null`, which cannot be told from another site's.
async fn no_path_in_referrer(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("strict-origin"));
    headers.insert("x-robots-tag", HeaderValue::from_static("noindex, nofollow"));
    response
}

#[derive(Deserialize)]
struct Link {
    key: Option<String>,
}

/// Shows the button of a link. Viewing the page uses nothing up and tells nothing: programs (previews, scanners) open links
/// as well.
async fn ask(Query(link): Query<Link>) -> Response {
    let content = html! {
        section.card.narrow.stack {
            h1 { "Deliveries of a webhook" }
            p.soft { "This link shows the deliveries of one webhook for a day, and sends them again. It needs no account." }
            form.stack method="post" action="/portal/open" {
                input type="hidden" name="key" value=(link.key.unwrap_or_default());
                button data-kind="main" autofocus { "Show the deliveries" }
            }
        }
    };
    page("Deliveries", None, &content).into_response_html()
}

/// Exchanges the secret of a link for the cookie of its portal.
async fn enter(
    State(app): State<App>,
    method: Method,
    headers: HeaderMap,
    extensions: Extensions,
    fields: Fields,
) -> Response {
    let entered = async {
        if !same_origin(&method, &headers) {
            return Err(ApiError::forbidden("the request comes from another site"));
        }
        let verdict = app.services.portals.guess(address_of(&extensions));
        if !verdict.allowed {
            return Ok(too_many(verdict, "too many links were tried from this address"));
        }
        let (key, now) = (fields.get("key").unwrap_or_default(), clock::now());
        let portal = app
            .services
            .store
            .portal_by_link(hash_secret(key.as_bytes()))
            .await?;
        let Some(portal) = portal.filter(|portal| portal.is_open(now)) else {
            return Ok(refused());
        };
        let own = path_of(&portal);
        let seconds = (portal.expires - now) / 1000;
        let secure = if app.services.https { "; Secure" } else { "" };
        let cookie = format!(
            "{COOKIE}={}; Path={own}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}",
            cookie_of(key)
        );
        Ok(([(header::SET_COOKIE, cookie)], Redirect::to(&own)).into_response())
    };
    entered.await.unwrap_or_else(|error| failure(&error))
}

fn path_of(portal: &Portal) -> String {
    format!("/portal/{}", portal.id)
}

fn refused() -> Response {
    let content = html! { section.card.narrow.stack { h1 { "Not open" } p { (CLOSED) } } };
    (
        StatusCode::FORBIDDEN,
        page("Not open", None, &content).into_response_html(),
    )
        .into_response()
}

/// Returns a page without the frame of a project: a portal has nothing beside its deliveries.
fn page(title: &str, theme: Option<Theme>, content: &Markup) -> Markup {
    let body = html! {
        body.plain {
            header.plain-top { span.brand { (icons::brand()) "iottly" } }
            main.portal #main { (content) }
        }
    };
    document(title, theme, &[], None, &body)
}

/// An open portal with its webhook.
struct Opened {
    portal: Portal,
    state: WebhookState,
}

impl Opened {
    fn hook(&self) -> &Webhook {
        &self.state.hook
    }

    /// Returns the portal that a request has the cookie of.
    ///
    /// # Errors
    /// The response that refuses the request.
    async fn of(app: &App, id: &str, headers: &HeaderMap, extensions: &Extensions) -> Result<Self, Response> {
        let failed = |error: ApiError| failure(&error);
        let (Ok(id), Some(secret)) = (id.parse(), cookie(headers, COOKIE)) else {
            return Err(refused());
        };
        let (store, now) = (&app.services.store, clock::now());
        let found = store.portal_by_cookie(id, hash_secret(secret.as_bytes())).await;
        let portal = found.map_err(|error| failed(error.into()))?;
        let Some(portal) = portal.filter(|portal| portal.is_open(now)) else {
            // A cookie is guessed like a link.
            let verdict = app.services.portals.guess(address_of(extensions));
            return Err(if verdict.allowed {
                refused()
            } else {
                too_many(verdict, "too many links were tried from this address")
            });
        };
        let verdict = app.services.portals.request(portal.id);
        if !verdict.allowed {
            return Err(too_many(verdict, "too many requests with this link"));
        }
        trace_project(portal.key.project);
        // A use in the future was recorded before the clock was set back.
        if portal
            .used
            .is_none_or(|used| used > now || now - used >= USED_EVERY_MS)
        {
            let touched = store.touch_portal(portal.key.project, portal.id, now).await;
            touched.map_err(|error| failed(error.into()))?;
        }
        let state = store
            .webhook(portal.key)
            .await
            .map_err(|error| failed(error.into()))?;
        let state = state.ok_or_else(refused)?;
        Ok(Self { portal, state })
    }
}

/// Query of the list: where it begins, and the result of an action.
#[derive(Deserialize)]
struct Asked {
    before: Option<u64>,
    replayed: Option<String>,
}

async fn show(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    extensions: Extensions,
) -> Response {
    let opened = match Opened::of(&app, &id, &headers, &extensions).await {
        Ok(opened) => opened,
        Err(refusal) => return refusal,
    };
    let shown = async {
        let store = &app.services.store;
        let attempts = store
            .webhook_attempts(opened.portal.key, asked.before, ATTEMPTS)
            .await
            .map_err(ApiError::from);
        let replayed = asked.replayed.filter(|id| id.parse::<MessageId>().is_ok());
        let content = html! {
            (head(&opened))
            @if let Some(message) = replayed { (notice(Tone::Good, &html! { "Message " code { (message) } " is sent again; its next attempt appears below." })) }
            @match &attempts {
                Ok(attempts) => (list(attempts, &opened)),
                Err(error) => section.card data-flush { (broken("The deliveries could not be read", error.message())) },
            }
        };
        Ok::<_, ApiError>(page("Deliveries", Theme::of(&headers), &content).into_response_html())
    };
    shown.await.unwrap_or_else(|error| failure(&error))
}

fn head(opened: &Opened) -> Markup {
    let (hook, queue) = (opened.hook(), &opened.state.queue);
    html! {
        div.head { div {
            h1 { "Deliveries" }
            ul.meta {
                li { "to " code.break { (origin(&hook.url)) } }
                li { b { (queue.waiting) } " waiting" }
                li { b { (queue.failed) } " failed" }
                li { @if hook.enabled { "on" } @else { "off: nothing is sent" } }
                li { "open until " time datetime=(text::iso(opened.portal.expires)) { (text::minute(opened.portal.expires)) } " UTC" }
            }
        } }
    }
}

/// Returns scheme, host and port of a URL: its path and query may hold a secret.
fn origin(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    format!("{scheme}://{host}")
}

fn list(attempts: &[WebhookAttempt], opened: &Opened) -> Markup {
    let own = path_of(&opened.portal);
    html! {
        section.card data-flush aria-labelledby="log" {
            div.card-head { h2 #log { "Attempts" } span.soft.small { "Newest first, times in UTC" } }
            @if attempts.is_empty() { (empty("No attempts", "Each attempt to deliver a message is listed here, with the answer of the receiver.", &html! {})) }
            @else { (table(attempts, &own, true)) }
            @if attempts.len() == ATTEMPTS && let Some(last) = attempts.last() {
                div.card-foot { a.button data-size="s" href={ (own) "?before=" (last.number) } { "Older attempts" } }
            }
        }
    }
}

fn table(attempts: &[WebhookAttempt], own: &str, links: bool) -> Markup {
    html! {
        table.table data-fold {
            thead { tr { th { "Time" } th { "Result" } th { "Message" } th.num.p3 { "Attempt" } th.num.p2 { "Took" } @if links { th { span.sr { "Action" } } } } }
            tbody { @for attempt in attempts { tr {
                td.nowrap { time datetime=(text::iso(attempt.at)) { (text::day(attempt.at)) } span.sub { (text::clock(attempt.at)) } }
                td { span.tag data-reason data-tone=(if attempt.result.starts_with("http_2") { "good" } else { "bad" }) { (attempt.result) }
                    @if !attempt.answer.is_empty() { span.sub.break { (attempt.answer) } } }
                td { @if links && attempt.device.is_some() { a href={ (own) "/messages/" (attempt.message) } { code { (attempt.message) } } } @else { code { (attempt.message) } } }
                td.num.p3 { (attempt.attempt) }
                td.num.p2 { (attempt.millis) " ms" }
                @if links { td { @if attempt.device.is_some() { (replay_button(own, attempt.message)) } } }
            } } }
        }
    }
}

fn replay_button(own: &str, message: MessageId) -> Markup {
    html! { form method="post" action={ (own) "/replay" } {
        input type="hidden" name="message" value=(message);
        button data-size="s" { "Send again" }
    } }
}

/// Shows one message: the body as it is sent, and its attempts.
async fn show_message(
    State(app): State<App>,
    Path((id, message)): Path<(String, String)>,
    headers: HeaderMap,
    extensions: Extensions,
) -> Response {
    let opened = match Opened::of(&app, &id, &headers, &extensions).await {
        Ok(opened) => opened,
        Err(refusal) => return refusal,
    };
    let shown = async {
        let (id, stored) = delivered(&app, &opened, &message).await?;
        let own = path_of(&opened.portal);
        let all = app
            .services
            .store
            .webhook_attempts(opened.portal.key, None, LOGGED)
            .await?;
        let attempts: Vec<_> = all.into_iter().filter(|attempt| attempt.message == id).collect();
        let content = html! {
            nav.crumbs aria-label="You are here" { ol { li { a href=(own) { "Deliveries" } } li aria-current="page" { (id) } } }
            div.head { div { h1 { "Message " code.break { (id) } } } div.actions { (replay_button(&own, id)) } }
            section.card.stack aria-labelledby="body-h" {
                h2 #body-h { "Body" }
                @match &stored {
                    Some(stored) => pre.break { (text::payload(&sent(&app, opened.hook(), stored)?)) },
                    None => p.soft { "The message is not stored any more." },
                }
            }
            section.card data-flush aria-labelledby="log" { div.card-head { h2 #log { "Attempts" } span.soft.small { "Newest first, times in UTC" } } (table(&attempts, &own, false)) }
        };
        Ok::<_, ApiError>(page("Message", Theme::of(&headers), &content).into_response_html())
    };
    shown.await.unwrap_or_else(|error| failure(&error))
}

/// Maximum number of attempts in a log, all of which are looked at.
const LOGGED: usize = 1000;
const _: () = assert!(LOGGED as i64 == iottly_core::webhooks::MAX_ATTEMPTS_LOGGED);

/// Returns a message that the webhook's log has an attempt of, with its entry of the history if that is still there. Other
/// messages of the project are as unknown as those that do not exist.
async fn delivered(
    app: &App,
    opened: &Opened,
    message: &str,
) -> Result<(MessageId, Option<StoredMessage>), ApiError> {
    let unknown = || ApiError::missing("the webhook has no attempt to deliver this message");
    let id: MessageId = message.parse().map_err(|_| unknown())?;
    let store = &app.services.store;
    let (scope, timestamp) = store
        .attempted(opened.portal.key, id)
        .await?
        .ok_or_else(unknown)?;
    let stored = store.entries(scope, &[Cursor { timestamp, id }]).await?;
    Ok((id, stored.into_iter().next()))
}

/// Returns the body of the requests for a message.
fn sent(app: &App, hook: &Webhook, message: &StoredMessage) -> Result<String, ApiError> {
    let list = open_headers(app.services.webhooks.seal(), hook)?;
    let form = headers::form(list.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    Ok(body(message, form, hook.payload_only))
}

/// Sends a message again.
async fn replay(
    State(app): State<App>,
    method: Method,
    Path(id): Path<String>,
    headers: HeaderMap,
    extensions: Extensions,
    fields: Fields,
) -> Response {
    if !same_origin(&method, &headers) {
        return failure(&ApiError::forbidden("the request comes from another site"));
    }
    let opened = match Opened::of(&app, &id, &headers, &extensions).await {
        Ok(opened) => opened,
        Err(refusal) => return refusal,
    };
    let verdict = app.services.portals.replay(opened.portal.id);
    if !verdict.allowed {
        return too_many(
            verdict,
            "this link has sent too many messages again; wait a minute",
        );
    }
    let done = async {
        let (message, _) = delivered(&app, &opened, fields.get("message").unwrap_or_default()).await?;
        let key = opened.portal.key;
        let by = Principal {
            project: key.project,
            actor: Actor::Cloud,
            name: format!("portal {}", opened.portal.id),
            scopes: Scopes::WRITE,
            group: None,
            address: Some(address_of(&extensions)),
        };
        let webhooks = &app.services.webhooks;
        let change = Change::ReplayWebhook(key.hook, Replay::One(message));
        app.services
            .store
            .change(key.project, &by, change, webhooks.now())
            .await?;
        webhooks.changed(key).await;
        let back = format!("{}?replayed={message}", path_of(&opened.portal));
        Ok::<_, ApiError>(Redirect::to(&back).into_response())
    };
    done.await.unwrap_or_else(|error| failure(&error))
}

#[cfg(test)]
mod tests {
    use super::origin;

    #[test]
    fn only_the_origin_of_a_receiver_is_shown() {
        for (url, shown) in [
            ("https://example.com/hook?token=s3cret", "https://example.com"),
            (
                "https://user:s3cret@example.com:8443/x",
                "https://example.com:8443",
            ),
            ("http://[::1]:80#s3cret", "http://[::1]:80"),
        ] {
            assert_eq!(origin(url), shown);
        }
    }
}
