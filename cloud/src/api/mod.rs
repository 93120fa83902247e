//! The REST API under `/v1.0`. Handlers extract, ask, and shape the answer; access is part of extracting.

mod body;
mod command;
mod cursor;
mod device;
mod dto;
pub(crate) mod health;
mod history;
mod logs;
mod messages;
mod ping;
mod project;
mod query;
mod spaced;

use axum::Router;
use axum::routing::{get, post};

use crate::error::ApiError;
use crate::http::App;

pub(crate) use history::{Page, page};

/// Most bytes of a request's body.
pub const MAX_BODY_BYTES: usize = 256 << 10;

/// What handlers return.
type Answer<T> = Result<spaced::Spaced<T>, ApiError>;

/// The routes below `/v1.0`.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/ping", get(ping::ping))
        .route("/project/ping", get(ping::ping))
        .route("/project/{project}/inspect", get(project::inspect))
        .route("/project/{project}/devices/props", get(device::all_props))
        .route("/project/{project}/device/{device}/props", get(device::props))
        .route("/project/{project}/device/{device}/command", post(command::send))
        .route("/project/{project}/device/{device}/commands/{command}", get(command::show))
        .route("/project/{project}/device/{device}/logs", get(logs::logs))
        .route("/project/{project}/messages/{device}", get(messages::messages))
}
