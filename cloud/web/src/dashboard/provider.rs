//! Pages of signing in with an identity provider: the way there, and the page to which the provider sends the browser back.

use std::net::IpAddr;

use axum::extract::{Query, State};
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;

use super::layout::{IntoHtml, failure, notice};
use super::login::{address_of, open, too_many};
use crate::app::App;
use crate::client::client_address;
use crate::error::ApiError;
use crate::oidc::{Answer, Identity, SignInError, clearing_cookie};
use iottly_cloud::clock;
use iottly_store::ProviderUser;

/// Text for a person whom the provider knows and who has no role here.
const NO_ROLE: &str = "The identity provider knows you, but none of your groups has a role here. Ask the operator of this cloud.";

/// Sends the browser to the provider.
pub(super) async fn begin(State(app): State<App>, headers: HeaderMap) -> Response {
    let Some(provider) = app.services.provider.as_deref() else {
        return failure(&ApiError::not_found());
    };
    match provider
        .begin(&headers, app.services.https, clock::moment())
        .await
    {
        Ok((url, cookie)) => ([(header::SET_COOKIE, cookie)], Redirect::to(&url)).into_response(),
        Err(error) => problem(StatusCode::BAD_GATEWAY, &error.to_string()),
    }
}

/// Ends a sign-in. The answer is a page that continues by itself and no redirect: at the end of a chain of redirects that
/// began at another site, browsers leave a SameSite=Strict cookie out.
pub(super) async fn end(
    State(app): State<App>,
    Query(answer): Query<Answer>,
    headers: HeaderMap,
    extensions: Extensions,
) -> Response {
    let Some(provider) = app.services.provider.as_deref() else {
        return failure(&ApiError::not_found());
    };
    let verdict = app.services.attempts.ask_address(address_of(&extensions));
    if !verdict.allowed {
        return too_many(verdict, "too many attempts to log in");
    }
    let https = app.services.https;
    let mut response = match provider.end(&headers, https, answer, clock::moment()).await {
        Ok(identity) => enter(&app, identity, client_address(&extensions))
            .await
            .unwrap_or_else(|error| failure(&error)),
        Err(error @ SignInError::Unreachable) => problem(StatusCode::BAD_GATEWAY, &error.to_string()),
        Err(error) => problem(StatusCode::FORBIDDEN, &error.to_string()),
    };
    if let Ok(cookie) = HeaderValue::from_str(&clearing_cookie(https)) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

async fn enter(app: &App, identity: Identity, address: Option<IpAddr>) -> Result<Response, ApiError> {
    let person = ProviderUser {
        name: identity.name,
        issuer: identity.issuer,
        subject: identity.subject,
        role: identity.role,
        address,
    };
    let Some(user) = app.services.store.sign_in(&person, clock::now()).await? else {
        return Ok(problem(StatusCode::FORBIDDEN, NO_ROLE));
    };
    let cookie = open(app, user.into()).await?;
    let content = html! {
        h1 { "Signed in" }
        p { a href="/" { "Go on to the devices" } }
    };
    let page = notice("Signed in", content)
        .render_and_go(Some("/"))
        .into_response_html();
    Ok(([(header::SET_COOKIE, cookie)], page).into_response())
}

fn problem(status: StatusCode, text: &str) -> Response {
    let content = html! {
        h1 { "Not signed in" }
        p.field-problem role="alert" { (text) }
        p { a href="/login" { "Back to the login" } }
    };
    (
        status,
        notice("Not signed in", content).render().into_response_html(),
    )
        .into_response()
}
