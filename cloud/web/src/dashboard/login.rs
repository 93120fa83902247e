//! Login, by name and password, a token or a one-time link, and log-out.

use std::net::{IpAddr, Ipv4Addr};

use axum::extract::{Query, State};
use axum::http::{Extensions, HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use serde::Deserialize;

use super::forms::Fields;
use super::layout::{IntoHtml, Page, failure};
use crate::app::App;
use crate::auth::{
    hash_secret, logged_in, same_origin, session_cookie, session_secret, still_works, trace_project,
    within_rate,
};

use crate::client::client_address;
use crate::error::ApiError;
use crate::rate;
use crate::sessions::{Holder, Login};
use iottly_cloud::clock;
use iottly_core::model::{Actor, UserName};
use iottly_core::rate::Verdict;
use iottly_protocol::Secret;

/// Message above the login form after an invalid link.
const SPENT: &str = "This link was used already or is too old.";
const UNKNOWN_TOKEN: &str = "This token is not known.";
const BOUND: &str = "This token is for one deployment group; the dashboard shows whole projects.";
const WRONG: &str = "Name or password is wrong.";

/// Returns the login form; `problem` is the reason for showing it again.
pub(super) fn form(app: &App, problem: Option<&str>) -> Response {
    let provider = app.services.provider.as_deref();
    let content = html! {
        section.card.narrow {
            h1 { "Log in" }
            @if let Some(problem) = problem { p.field-problem role="alert" { (problem) } }
            @if let Some(provider) = provider {
                p { a.button.by-provider href="/login/provider" { "Sign in with " (provider.name()) } }
            }
            form.stack.by-name method="post" action="/login" {
                label for="name" { "Name" }
                input #name name="name" autocomplete="username" required autofocus spellcheck="false";
                label for="password" { "Password" }
                input #password type="password" name="password" autocomplete="current-password" required;
                button data-kind="main" { "Log in" }
            }
            details open[problem == Some(UNKNOWN_TOKEN)] {
                summary { "Log in with an API token" }
                p.soft { "The demo prints one, and a link that needs none." }
                form.stack.by-token method="post" action="/login" {
                    label for="token" { "API token" }
                    input #token type="password" name="token" autocomplete="off" required spellcheck="false";
                    button { "Log in with the token" }
                }
            }
        }
    };
    Page {
        title: "Log in",
        name: None,
        content,
    }
    .render()
    .into_response_html()
}

/// Returns the page of a valid login link.
fn link_form(key: &str) -> Response {
    let content = html! {
        section.card.narrow {
            h1 { "Log in" }
            p.soft { "This link logs you in once. It is used up by the button, not by looking at this page." }
            form.stack method="post" action="/login" {
                input type="hidden" name="key" value=(key);
                button data-kind="main" autofocus { "Open the dashboard" }
            }
        }
    };
    Page {
        title: "Log in",
        name: None,
        content,
    }
    .render()
    .into_response_html()
}

#[derive(Deserialize)]
pub(super) struct Link {
    key: Option<String>,
}

/// Shows the login form, or the button of a one-time link. Viewing the page does not use up the link, because
/// programs (previews, scanners, `HEAD` requests) open links as well.
pub(super) async fn show(State(app): State<App>, Query(link): Query<Link>) -> Response {
    match link.key {
        None => form(&app, None),
        Some(key) if app.services.sessions.is_link(&key, clock::moment()) => link_form(&key),
        Some(_) => (StatusCode::FORBIDDEN, form(&app, Some(SPENT))).into_response(),
    }
}

/// Logs in with a token, or with the key of a one-time link.
pub(super) async fn log_in(
    State(app): State<App>,
    method: Method,
    headers: HeaderMap,
    extensions: Extensions,
    fields: Fields,
) -> Response {
    if !same_origin(&method, &headers) {
        return failure(&ApiError::forbidden("the request comes from another site"));
    }
    let entered = match (fields.get("key"), fields.get("name")) {
        (Some(key), _) => by_key(&app, &headers, key).await,
        (None, Some(name)) => by_name(&app, &extensions, name, &fields.secret("password")).await,
        (None, None) => by_token(&app, &extensions, fields.get("token").unwrap_or_default().trim()).await,
    };
    entered.unwrap_or_else(|error| failure(&error))
}

async fn by_key(app: &App, headers: &HeaderMap, key: &str) -> Result<Response, ApiError> {
    if let Some(login) = app.services.sessions.redeem_link(key, clock::moment())
        && still_works(&app.services, &login).await?
    {
        return enter(app, login).await;
    }
    // The button of the link was pressed twice.
    if logged_in(&app.services, headers).await?.is_some() {
        return Ok(Redirect::to("/").into_response());
    }
    Ok((StatusCode::FORBIDDEN, form(app, Some(SPENT))).into_response())
}

async fn by_name(
    app: &App,
    extensions: &Extensions,
    name: &str,
    password: &Secret,
) -> Result<Response, ApiError> {
    let services = &app.services;
    let wrong = || Ok((StatusCode::FORBIDDEN, form(app, Some(WRONG))).into_response());
    let Ok(name) = name.parse::<UserName>() else {
        return wrong();
    };
    let verdict = services.attempts.ask(address_of(extensions), &name);
    if !verdict.allowed {
        return Ok(too_many(verdict, "too many attempts to log in"));
    }
    let (user, hash) = match services.store.credentials(&name).await? {
        Some((user, hash)) => (Some(user), hash),
        None => (None, None),
    };
    let matches = services.passwords.matches(password, hash).await?;
    let Some(user) = user.filter(|_| matches) else {
        return wrong();
    };
    services.store.user_seen(user.id, clock::now()).await?;
    enter(app, user.into()).await
}

/// Returns the address of a request's client.
pub(super) fn address_of(extensions: &Extensions) -> IpAddr {
    client_address(extensions).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

pub(super) fn too_many(verdict: Verdict, message: &str) -> Response {
    let mut refused = failure(&ApiError::too_many("rate_limited", message));
    rate::describe(verdict, refused.headers_mut());
    refused
}

async fn by_token(app: &App, extensions: &Extensions, text: &str) -> Result<Response, ApiError> {
    let (services, now) = (&app.services, clock::moment());
    let token = services
        .store
        .token(hash_secret(text.as_bytes()))
        .await?
        .filter(|token| token.is_live(now.date));
    let Some(token) = token else {
        return Ok((StatusCode::FORBIDDEN, form(app, Some(UNKNOWN_TOKEN))).into_response());
    };
    if token.group.is_some() {
        return Ok((StatusCode::FORBIDDEN, form(app, Some(BOUND))).into_response());
    }
    let actor = Actor::Token(token.id);
    within_rate(services, actor, extensions)?;
    let verdict = services.sessions.ask(actor, now);
    if !verdict.allowed {
        return Ok(too_many(verdict, "too many logins with this token"));
    }
    enter(app, token.into()).await
}

/// Ends the login.
pub(super) async fn log_out(State(app): State<App>, method: Method, headers: HeaderMap) -> Response {
    if !same_origin(&method, &headers) {
        return failure(&ApiError::forbidden("the request comes from another site"));
    }
    let https = app.services.https;
    if let Some(secret) = session_secret(&headers, https)
        && let Err(error) = app.services.close_login(secret).await
    {
        return failure(&error.into());
    }
    (
        [(header::SET_COOKIE, session_cookie("", 0, https))],
        Redirect::to("/"),
    )
        .into_response()
}

/// Opens a login and sends the browser to the devices.
pub(super) async fn enter(app: &App, login: Login) -> Result<Response, ApiError> {
    let cookie = open(app, login).await?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response())
}

/// Opens a login and returns its `Set-Cookie` header.
pub(super) async fn open(app: &App, login: Login) -> Result<String, ApiError> {
    if let Holder::Token(principal) = &login.holder {
        trace_project(principal.project);
    }
    let (secret, left) = app.services.open_login(login, clock::moment()).await?;
    let length = left.as_secs();
    Ok(session_cookie(&secret, length, app.services.https))
}
