use axum::extract::{Query, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use serde::Deserialize;

use super::forms::Fields;
use super::layout::{IntoHtml, Page, failure};
use crate::auth::{SESSION_COOKIE, SESSION_MAX_AGE_SECONDS, cookie, hash_secret, same_origin};
use crate::clock;
use crate::error::ApiError;
use crate::http::App;
use crate::model::Principal;

/// The login form; `problem` says why it is shown again.
pub(super) fn form(problem: Option<&str>) -> Response {
    let content = html! {
        section.card.narrow {
            h1 { "Log in" }
            p.muted { "Enter an API token of your project. The demo prints one, and a link that needs none." }
            @if let Some(problem) = problem { p.problem role="alert" { (problem) } }
            form.stack method="post" action="/login" {
                label for="token" { "API token" }
                input #token type="password" name="token" autocomplete="current-password" required autofocus spellcheck="false";
                button { "Log in" }
            }
        }
    };
    Page { title: "Log in", project: None, events: None, content }.render().into_response_html()
}

#[derive(Deserialize)]
pub(super) struct Link {
    key: Option<String>,
}

/// Logs in by a one-time link.
pub(super) async fn by_link(State(app): State<App>, Query(link): Query<Link>) -> Response {
    let Some(key) = link.key else { return form(None) };
    match app.services.sessions.redeem_link(&key, clock::now()) {
        Some(principal) => enter(&app, principal),
        None => (StatusCode::FORBIDDEN, form(Some("This link was used already or is too old."))).into_response(),
    }
}

/// Logs in with a token.
pub(super) async fn by_token(State(app): State<App>, method: Method, headers: HeaderMap, fields: Fields) -> Response {
    if !same_origin(&method, &headers) {
        return failure(&ApiError::forbidden("the request comes from another site"));
    }
    let token = fields.get("token").unwrap_or_default().trim();
    match app.services.store.token(hash_secret(token.as_bytes())).await {
        Ok(Some(token)) if token.is_live(clock::now()) => enter(&app, token.into()),
        Ok(_) => (StatusCode::FORBIDDEN, form(Some("This token is not known."))).into_response(),
        Err(error) => failure(&error.into()),
    }
}

/// Ends the login.
pub(super) async fn logout(State(app): State<App>, method: Method, headers: HeaderMap) -> Response {
    if !same_origin(&method, &headers) {
        return failure(&ApiError::forbidden("the request comes from another site"));
    }
    if let Some(secret) = cookie(&headers, SESSION_COOKIE) {
        app.services.sessions.close(secret);
    }
    ([(header::SET_COOKIE, set_cookie("", 0))], Redirect::to("/")).into_response()
}

fn enter(app: &App, principal: Principal) -> Response {
    match app.services.sessions.open(principal, clock::now()) {
        Ok(secret) => ([(header::SET_COOKIE, set_cookie(&secret, SESSION_MAX_AGE_SECONDS))], Redirect::to("/")).into_response(),
        Err(error) => failure(&ApiError::internal(&error)),
    }
}

fn set_cookie(secret: &str, max_age: i64) -> String {
    format!("{SESSION_COOKIE}={secret}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Strict")
}
