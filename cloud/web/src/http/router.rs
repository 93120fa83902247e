//! Routes of the servers, with their layers.

use axum::Router;
use axum::middleware;
use axum::routing::get;
use tower_http::compression::CompressionLayer;
use utoipa_axum::router::OpenApiRouter;

use super::{docs, layers, metrics, repository, websocket};
use crate::app::App;
use crate::error::ApiError;
use crate::{api, dashboard};

/// Returns all routes without the metrics.
pub fn router(app: App) -> Router {
    routes(app, Router::new())
}

/// Returns all routes. The metrics are for requests of this machine and for operators.
pub(super) fn router_with_metrics(app: App) -> Router {
    routes(
        app,
        Router::new().route("/metrics", get(metrics::for_this_machine)),
    )
}

/// Returns the routes of the listener for metrics.
pub(super) fn metrics_router(app: App) -> Router {
    let metrics = Router::new().route("/metrics", get(metrics::for_everyone));
    metrics
        .fallback(async || ApiError::not_found())
        .layer(middleware::from_fn(layers::request_id))
        .with_state(app)
}

fn routes(app: App, metrics: Router<App>) -> Router {
    let described = OpenApiRouter::with_openapi(api::openapi::start())
        .merge(api::open_routes())
        .nest("/v1.0", api::routes());
    let (described, description) = described.split_for_parts();
    let api = described
        .merge(docs::routes(&api::openapi::complete(&description)))
        .layer(middleware::from_fn(layers::rate))
        // Not around the dashboard: its pages contain secrets next to text from others, and the size of
        // compressed pages would reveal the secrets.
        .layer(CompressionLayer::new())
        .merge(metrics);
    // A device's downloads are limited by the connection's watchdog instead of a time limit. They are signed
    // and already compressed.
    let repositories = axum::Router::new().route("/repo/{project}/{*path}", get(repository::file));
    let pages = dashboard::pages(&app).layer(middleware::from_fn(layers::rate));
    let streams = dashboard::streams().layer(middleware::from_fn(layers::rate));
    let timed = api.merge(pages).layer(middleware::from_fn(layers::time_limit));
    let devices = Router::new().route(websocket::PATH, get(websocket::mqtt));
    timed
        .merge(streams)
        .merge(devices)
        .merge(repositories)
        .fallback(dashboard::not_found)
        .method_not_allowed_fallback(dashboard::method_not_allowed)
        .layer(middleware::from_fn(layers::plain_path))
        .layer(middleware::from_fn(layers::request_id))
        .layer(middleware::from_fn_with_state(app.clone(), layers::for_browsers))
        .route_layer(middleware::from_fn_with_state(app.clone(), layers::measure))
        .with_state(app)
}
