//! Resolves the login cookie of a request to a login whose token is still valid.

use axum::http::HeaderMap;

use super::credentials::session_secret;
use crate::app::WebServices;
use crate::sessions::{Login, Session};
use iottly_cloud::clock;
use iottly_cloud::clock::Moment;
use iottly_store::Result;

/// Returns the login of a request's cookie; `None` without a valid login.
///
/// The token is looked up for each request, so a login ends with its token, also when another cloud on the
/// same database has revoked it, or when it was revoked during the login.
pub(crate) async fn logged_in(services: &WebServices, headers: &HeaderMap) -> Result<Option<Session>> {
    let now = clock::moment();
    let Some(secret) = session_secret(headers, services.https) else {
        return Ok(None);
    };
    let Some(session) = services.sessions.find(secret, now) else {
        return Ok(None);
    };
    match current(services, &session.login, now).await? {
        Some(login) => Ok(Some(session.with_login(login))),
        None => {
            services.sessions.close(secret);
            Ok(None)
        }
    }
}

/// Returns true if a login's token is still valid.
pub(crate) async fn still_works(services: &WebServices, login: &Login) -> Result<bool> {
    Ok(current(services, login, clock::moment()).await?.is_some())
}

/// Returns the login with the current state of its token. Scopes that the token has gained since the login
/// are not added; lost ones are removed.
async fn current(services: &WebServices, login: &Login, now: Moment) -> Result<Option<Login>> {
    let before = &login.principal;
    let Some(token) = services.store.token_by_id(before.project, before.token).await? else {
        return Ok(None);
    };
    if !token.is_live(now.date) {
        return Ok(None);
    }
    let mut current = Login::from(token);
    if current.round != login.round {
        return Ok(None);
    }
    let Some(scopes) = current.principal.scopes.common(before.scopes) else {
        return Ok(None);
    };
    current.principal.scopes = scopes;
    Ok(Some(current))
}
