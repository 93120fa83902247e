//! The page of an invitation: its holder becomes a member with a name and a password, or chooses a new password.

use std::net::IpAddr;

use axum::extract::{Query, State};
use axum::http::{Extensions, HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use maud::html;
use serde::Deserialize;

use super::forms::Fields;
use super::layout::{IntoHtml, Page, failure};
use super::login::enter;
use crate::app::App;
use crate::auth::{hash_secret, same_origin};
use crate::client::client_address;
use crate::error::ApiError;
use crate::sessions::PasswordError;
use iottly_cloud::clock;
use iottly_core::model::{Actor, Invitation, LoginsOf, UserId, UserName};
use iottly_store::{Author, PeopleChange, StoreError};

/// Message for an invalid link.
const SPENT: &str = "This link was used already or is too old.";
/// Maximum length of a key that is looked up, in bytes.
const MAX_KEY_BYTES: usize = 128;

#[derive(Deserialize)]
pub(super) struct Link {
    key: Option<String>,
}

/// Shows the form of an invitation. Viewing the page does not use up the link.
pub(super) async fn show(State(app): State<App>, Query(link): Query<Link>) -> Response {
    let key = link.key.unwrap_or_default();
    match invitation(&app, &key).await {
        Ok(Some(invitation)) => form(&key, &invitation, "", None),
        Ok(None) => (StatusCode::FORBIDDEN, spent()).into_response(),
        Err(error) => failure(&error),
    }
}

async fn invitation(app: &App, key: &str) -> Result<Option<Invitation>, ApiError> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Ok(None);
    }
    let hash = hash_secret(key.as_bytes());
    Ok(app.services.store.invitation(hash, clock::now()).await?)
}

fn spent() -> Response {
    let content = html! {
        section.card.narrow {
            h1 { "Join" }
            p.field-problem role="alert" { (SPENT) }
            p { "Ask an owner for another one. " a href="/" { "Log in" } }
        }
    };
    page(content)
}

fn page(content: maud::Markup) -> Response {
    Page {
        title: "Join",
        name: None,
        content,
    }
    .render()
    .into_response_html()
}

fn form(key: &str, invitation: &Invitation, name: &str, problem: Option<&str>) -> Response {
    page(html! {
        section.card.narrow {
            @if invitation.user.is_some() {
                h1 { "Choose a new password" }
            } @else {
                h1 { "Join" }
                p.soft { "You become " (invitation.role) "." }
            }
            @if let Some(problem) = problem { p.field-problem role="alert" { (problem) } }
            form.stack method="post" action="/join" {
                input type="hidden" name="key" value=(key);
                @if invitation.user.is_none() {
                    label for="name" { "Name to log in with, for example your e-mail address" }
                    input #name name="name" value=(name) autocomplete="username" required autofocus spellcheck="false";
                }
                label for="password" { "Password, at least 10 characters" }
                input #password type="password" name="password" autocomplete="new-password" minlength="10" required;
                label for="again" { "The password once more" }
                input #again type="password" name="again" autocomplete="new-password" minlength="10" required;
                button data-kind="main" { "Continue" }
            }
        }
    })
}

/// Uses up an invitation and logs its holder in.
pub(super) async fn join(
    State(app): State<App>,
    method: Method,
    headers: HeaderMap,
    extensions: Extensions,
    fields: Fields,
) -> Response {
    if !same_origin(&method, &headers) {
        return failure(&ApiError::forbidden("the request comes from another site"));
    }
    let key = fields.get("key").unwrap_or_default();
    match invitation(&app, key).await {
        Ok(Some(invitation)) => {
            let from = client_address(&extensions);
            let accepted = accept(&app, key, &invitation, &fields, from).await;
            accepted.unwrap_or_else(|error| failure(&error))
        }
        Ok(None) => (StatusCode::FORBIDDEN, spent()).into_response(),
        Err(error) => failure(&error),
    }
}

async fn accept(
    app: &App,
    key: &str,
    invitation: &Invitation,
    fields: &Fields,
    address: Option<IpAddr>,
) -> Result<Response, ApiError> {
    let given = fields.get("name").unwrap_or_default();
    let again = |problem: &str| {
        let page = form(key, invitation, given, Some(problem));
        Ok((StatusCode::BAD_REQUEST, page).into_response())
    };
    let name = match (given.parse::<UserName>(), invitation.user) {
        (Err(error), None) => return again(&error.to_string()),
        (name, _) => name.ok(),
    };
    let password = fields.secret("password");
    if fields.secret("again") != password {
        return again("The two passwords differ.");
    }
    let password = match app.services.passwords.hash(&password).await {
        Ok(hash) => hash,
        Err(error @ PasswordError::Length) => return again(&error.to_string()),
        Err(error) => return Err(error.into()),
    };
    let (store, hash, now) = (&app.services.store, hash_secret(key.as_bytes()), clock::now());
    let (user, author, change) = match (invitation.user, name) {
        (Some(user), _) => {
            let name = store.user(user).await?.map(|user| user.name.to_string());
            let change = PeopleChange::ChoosePassword {
                invitation: hash,
                password,
            };
            (user, name.unwrap_or_default(), change)
        }
        (None, Some(name)) => {
            let user = UserId::random();
            let author = name.to_string();
            let change = PeopleChange::Join {
                invitation: hash,
                user,
                name,
                password,
            };
            (user, author, change)
        }
        (None, None) => return again("The name is missing."),
    };
    let by = Author {
        actor: Actor::User(user),
        name: author,
        address,
    };
    match store
        .change_people(invitation.organization, &by, change, now)
        .await
    {
        Ok(()) => {}
        Err(StoreError::Exists { .. }) => return again("This name is taken."),
        Err(error) => return Err(error.into()),
    }
    app.services.end_logins(LoginsOf::User(user)).await?;
    let user = store.user(user).await?.ok_or_else(ApiError::unauthenticated)?;
    enter(app, user.into()).await
}
