//! The dashboard: pages rendered here, readable without JavaScript; scripts only add what moves.
//!
//! Its handlers use the same project handles and services as the REST API. Pages never hold a token: the browser has an HttpOnly
//! cookie that stands for a login.

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
use iottly_protocol::ProjectId;

use crate::clock;
use crate::cloud::Services;
use crate::http::App;
use crate::model::{Principal, Scopes, TokenId};

/// The pages; each answers within the time limit of requests.
pub(crate) fn pages() -> Router<App> {
    Router::new()
        .route("/", get(devices::overview))
        .route("/login", get(login::by_link).post(login::by_token))
        .route("/logout", post(login::logout))
        .route("/devices/{device}", get(devices::device))
        .route("/devices/{device}/command", post(commands::send))
        .route("/assets/{version}/{name}", get(assets::asset))
        .route("/favicon.ico", get(assets::favicon))
        .layer(middleware::from_fn(layout::security_headers))
}

/// What goes on as long as the browser listens.
pub(crate) fn streams() -> Router<App> {
    Router::new().route("/ui/events", get(events::events)).layer(middleware::from_fn(layout::security_headers))
}

/// A link that logs its first visitor in to a project's dashboard, within an hour; `base` is the cloud's address.
#[must_use]
pub fn login_link(services: &Services, project: ProjectId, base: &str) -> String {
    let principal = Principal { project, token: TokenId::random(), name: "login link".to_owned(), scopes: Scopes::PROJECT };
    match services.sessions.mint_link(principal, clock::now()) {
        Ok(key) => format!("{base}/login?key={key}"),
        Err(error) => {
            tracing::error!(%error, "no randomness for a login link");
            base.to_owned()
        }
    }
}
