//! The dashboard: pages rendered by the server and readable without JavaScript; scripts only add live
//! updates.
//!
//! Its handlers use the same project handles and services as the REST API. Pages never contain a token: the
//! browser has an HttpOnly cookie for the login.

mod assets;
mod commands;
mod devices;
mod events;
mod forms;
mod layout;
mod login;
mod text;
mod visitor;

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};

use crate::app::App;
use crate::app::WebServices;
use crate::auth::hash_secret;

use crate::error::ApiError;
use crate::sessions::Login;
use iottly_cloud::clock;
use iottly_core::model::Scopes;

/// Returns the routes of the pages, which respond within the time limit of requests.
pub(crate) fn pages() -> Router<App> {
    Router::new()
        .route("/", get(devices::overview))
        .route("/login", get(login::show).post(login::log_in))
        .route("/logout", post(login::log_out))
        .route("/devices/{device}", get(devices::device))
        .route("/devices/{device}/command", post(commands::send))
        .route("/assets/{version}/{name}", get(assets::asset))
        .route("/favicon.ico", get(assets::favicon))
        .layer(middleware::from_fn(layout::security_headers))
}

/// Returns the routes of event streams, which last until the browser disconnects.
pub(crate) fn streams() -> Router<App> {
    Router::new()
        .route("/ui/events", get(events::events))
        .layer(middleware::from_fn(layout::security_headers))
}

/// Returns a link that logs one visitor in to the dashboard of a token's project, within an hour; `base` is
/// the cloud's URL. The login has the scopes of the token and ends with it. Without a valid token, the link
/// is `base`.
pub async fn login_link(services: &WebServices, token: &str, base: &str) -> String {
    match mint_link(services, token).await {
        Ok(Some(key)) => format!("{base}/login?key={key}"),
        Ok(None) => base.to_owned(),
        Err(error) => {
            tracing::error!(
                error = error.message(),
                "failed to create a login link; the dashboard asks for a token"
            );
            base.to_owned()
        }
    }
}

async fn mint_link(services: &WebServices, token: &str) -> Result<Option<String>, ApiError> {
    let now = clock::moment();
    let token = services.store.token(hash_secret(token.as_bytes())).await?;
    let Some(token) = token.filter(|token| token.is_live(now.date)) else {
        return Ok(None);
    };
    let mut login = Login::from(token);
    let Some(scopes) = login.principal.scopes.common(Scopes::PROJECT) else {
        return Ok(None);
    };
    login.principal.scopes = scopes;
    Ok(Some(services.sessions.mint_link(login, now)?))
}
