//! Endpoints with the metrics of the whole cloud.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::auth::Access;
use crate::client::ClientAddress;
use crate::error::ApiError;
use iottly_core::model::Scopes;

/// Returns the metrics to clients on this machine and to operators.
pub(super) async fn for_this_machine(State(app): State<App>, request: Request) -> Result<Response, ApiError> {
    let (mut parts, _) = request.into_parts();
    let client = parts
        .extensions
        .get::<ClientAddress>()
        .map(|ClientAddress(client)| *client);
    // A proxy on this machine forwards requests of other machines.
    let forwarded = ["forwarded", "x-forwarded-for", "x-real-ip"]
        .iter()
        .any(|name| parts.headers.contains_key(*name));
    if forwarded || !client.is_some_and(|client| client.is_loopback()) {
        Access::from_request_parts(&mut parts, &app)
            .await?
            .require(Scopes::OPERATOR)?;
    }
    text(&app).await
}

/// Returns the metrics to any client of a listener whose address the operator chose.
pub(super) async fn for_everyone(State(app): State<App>) -> Result<Response, ApiError> {
    text(&app).await
}

async fn text(app: &App) -> Result<Response, ApiError> {
    let services = &app.services;
    let online = services.store.online_count().await?;
    let totals = services.store.webhook_totals().await?;
    services.metrics.webhooks(
        &totals,
        services.store.pending_webhooks().dropped(),
        services.webhooks.now(),
    );
    let text = services
        .metrics
        .text(services.queue.depth(), online)
        .map_err(|error| ApiError::internal(&error))?;
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
