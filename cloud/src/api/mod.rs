//! The REST API under `/v1.0`. Handlers extract, ask, and shape the answer; access is part of extracting.

mod audit;
mod body;
mod branches;
mod code_dto;
mod command;
mod config;
mod cursor;
mod definitions;
mod device;
mod dto;
mod export;
mod groups;
pub(crate) mod health;
mod history;
mod licence;
mod logs;
mod messages;
mod paginated;
mod ping;
mod project;
mod projects;
mod query;
mod search;
mod spaced;
mod text;
mod tokens;

use axum::Router;
use axum::routing::{delete, get, post, put};

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
        .route("/projects", get(projects::all).post(projects::create))
        .nest("/project/{project}", project_routes().merge(device_routes()).merge(code_routes()))
}

fn project_routes() -> Router<App> {
    Router::new()
        .route("/", get(projects::show).put(projects::update).delete(projects::delete))
        .route("/inspect", get(project::inspect))
        .route("/license", get(licence::all))
        .route("/license/{licence}", get(licence::one))
        .route("/tokens", get(tokens::all).post(tokens::create))
        .route("/tokens/{token}", delete(tokens::revoke))
        .route("/auditlog", get(audit::entries))
        .route("/messagedefinitions", get(definitions::all).post(definitions::create))
        .route("/messagedefinitions/{type}", get(definitions::one).put(definitions::update).delete(definitions::delete))
        .route("/deploymentgroups", get(groups::all).post(groups::create))
        .route("/deploymentgroups/{group}", get(groups::show).put(groups::update).delete(groups::delete))
        .route("/deploymentgroups/{group}/devices", post(groups::move_devices))
        .route("/deploymentgroups/{group}/devices/{member}", delete(groups::remove_device))
        .route("/deploymentgroups/{group}/flashfw", post(groups::flash))
}

fn device_routes() -> Router<App> {
    Router::new()
        .route("/devices/props", get(device::all_props))
        .route("/device", post(device::create))
        // The installer's script asks with the slash.
        .route("/device/", post(device::create))
        .route("/device/{device}", delete(device::delete))
        .route("/device/{device}/props", get(device::props).put(device::set_props))
        .route("/device/{device}/config", get(config::show).put(config::set))
        .route("/device/{device}/command", post(command::send))
        .route("/device/{device}/commands", get(command::list))
        .route("/device/{device}/commands/{command}", get(command::show))
        .route("/device/{device}/commands/{command}/cancel", post(command::cancel))
        .route("/device/{device}/logs", get(logs::logs))
        .route("/device/{device}/messages/paginated", get(paginated::messages))
        .route("/device/{device}/messages/export", get(export::messages))
        .route("/messages/{device}", get(messages::messages))
}

fn code_routes() -> Router<App> {
    Router::new()
        .route("/branches", get(branches::all).post(branches::create))
        .route("/branches/{branch}", get(branches::show).delete(branches::delete))
        .route("/branches/{branch}/snippets", put(branches::save))
        .route("/branches/{branch}/snippets/{snippet}", delete(branches::delete_snippet))
        .route("/branches/{branch}/revisions", get(branches::revisions).post(branches::save_version))
        .route("/branches/{branch}/revisions/{revision}", get(branches::revision))
        .route("/branches/{branch}/restore", post(branches::restore))
        .route("/branches/{branch}/diff", get(branches::diff))
}
