//! Resolves the login cookie of a request to a login whose token or user is still valid.

use axum::http::HeaderMap;

use super::credentials::session_secret;
use crate::app::WebServices;
use crate::sessions::{Holder, Login, Session};
use iottly_cloud::clock;
use iottly_cloud::clock::Moment;
use iottly_core::model::{Actor, Principal};
use iottly_store::Result;

/// Returns the login of a request's cookie; `None` without a valid login.
///
/// Login and token or user are looked up for each request, so a login ends when any cloud of the database has ended it or
/// has removed its holder, also when that happened during the login.
pub(crate) async fn logged_in(services: &WebServices, headers: &HeaderMap) -> Result<Option<Session>> {
    let now = clock::moment();
    let Some(secret) = session_secret(headers, services.https) else {
        return Ok(None);
    };
    let Some(session) = services.find_login(secret, now).await? else {
        return Ok(None);
    };
    match current(services, &session.login, now).await? {
        Some(login) => Ok(Some(session.with_login(login))),
        None => {
            services.close_login(secret).await?;
            Ok(None)
        }
    }
}

/// Returns true if a login's token or user is still valid.
pub(crate) async fn still_works(services: &WebServices, login: &Login) -> Result<bool> {
    Ok(current(services, login, clock::moment()).await?.is_some())
}

/// Returns true if a login was not ended by any cloud of the database, and its token or user is still valid.
pub(crate) async fn still_logged_in(services: &WebServices, session: &Session) -> Result<bool> {
    Ok(services.is_stored(session).await? && still_works(services, &session.login).await?)
}

/// Returns the login with the current state of its token or user; `None` when it is over.
async fn current(services: &WebServices, login: &Login, now: Moment) -> Result<Option<Login>> {
    match &login.holder {
        Holder::Token(principal) => of_token(services, login, principal, now).await,
        Holder::Person(person) => {
            let user = services.store.user(person.id).await?;
            Ok(user
                .map(Login::from)
                .filter(|current| current.round == login.round))
        }
    }
}

/// Returns the login with the current state of its token. Scopes that the token has gained since the login are not
/// added; lost ones are removed.
async fn of_token(
    services: &WebServices,
    login: &Login,
    before: &Principal,
    now: Moment,
) -> Result<Option<Login>> {
    let Actor::Token(id) = before.actor else {
        return Ok(None);
    };
    let token = services.store.token_by_id(before.project, id).await?;
    let Some(token) = token.filter(|token| token.is_live(now.date) && token.logins == login.round) else {
        return Ok(None);
    };
    let (expires, round, mut principal) = (token.expires, token.logins, Principal::from(token));
    let Some(scopes) = principal.scopes.common(before.scopes) else {
        return Ok(None);
    };
    principal.scopes = scopes;
    Ok(Some(Login {
        holder: Holder::Token(principal),
        expires,
        round,
    }))
}
