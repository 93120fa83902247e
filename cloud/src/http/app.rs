use axum::Router;
use axum::middleware;
use axum::routing::get;
use tokio::sync::watch;

use super::layers;
use crate::cloud::Services;
use crate::error::ApiError;
use crate::{api, dashboard};

/// What every handler can reach.
#[derive(Clone)]
pub struct App {
    /// The cloud's parts.
    pub services: Services,
    /// Becomes true when the server stops; answers without an end watch it.
    pub(crate) closing: watch::Receiver<bool>,
}

impl App {
    pub(super) fn new(services: Services, closing: watch::Receiver<bool>) -> Self {
        Self { services, closing }
    }
}

/// All routes.
pub fn router(app: App) -> Router {
    let open = Router::new().route("/healthz", get(api::health::healthz)).route("/readyz", get(api::health::readyz));
    let timed = open.nest("/v1.0", api::routes()).merge(dashboard::pages()).layer(middleware::from_fn(layers::time_limit));
    timed
        .merge(dashboard::streams())
        .fallback(async || ApiError::not_found())
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .layer(middleware::from_fn(layers::request_id))
        .with_state(app)
}
