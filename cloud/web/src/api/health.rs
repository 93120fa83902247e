//! Health endpoints, open without a token: the process runs, and the cloud can serve requests.

use axum::extract::State;

use super::Answer;
use super::dto::Health;
use super::spaced::Spaced;
use crate::app::App;
use crate::error::ApiError;
use iottly_cloud::ingest::STALLED;
use iottly_core::model::SecretHash;

/// Reports that the process runs.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "service",
    security(()),
    responses((status = 200, description = "The process runs", body = Health))
)]
pub(crate) async fn healthz() -> Answer<Health> {
    Ok(Spaced(Health { status: "ok".into() }))
}

/// Reports that the cloud can serve requests: the database responds, and messages of devices are being
/// stored.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "service",
    security(()),
    responses((status = 200, description = "The cloud can serve requests", body = Health))
)]
pub(crate) async fn readyz(State(app): State<App>) -> Answer<Health> {
    if app.services.queue.is_stalled() {
        let reason = format!(
            "messages of devices are waiting, but none was stored for {} s",
            STALLED.as_secs()
        );
        return Err(ApiError::unavailable("not_ready", reason));
    }
    // Any indexed query shows that the database responds.
    match app.services.store.token(SecretHash([0; 32])).await {
        Ok(_) => Ok(Spaced(Health {
            status: "ready".into(),
        })),
        Err(_) => Err(ApiError::unavailable(
            "not_ready",
            "the database does not respond",
        )),
    }
}
