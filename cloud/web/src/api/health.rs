//! Whether the cloud runs and can work; open to everyone.

use axum::extract::State;

use super::Answer;
use super::dto::Health;
use super::spaced::Spaced;
use crate::app::App;
use crate::error::ApiError;
use iottly_cloud::ingest::STALLED;
use iottly_core::model::SecretHash;

/// Whether the process runs.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "service",
    security(()),
    responses((status = 200, description = "The answer", body = Health))
)]
pub(crate) async fn healthz() -> Answer<Health> {
    Ok(Spaced(Health { status: "ok" }))
}

/// Whether the cloud can work: its database answers, and what devices send is stored.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "service",
    security(()),
    responses((status = 200, description = "The answer", body = Health))
)]
pub(crate) async fn readyz(State(app): State<App>) -> Answer<Health> {
    if app.services.queue.is_stalled() {
        let reason = format!(
            "nothing that devices sent was stored for {} s, though something waits",
            STALLED.as_secs()
        );
        return Err(ApiError::unavailable("not_ready", reason));
    }
    // Any indexed look-up shows that the database answers.
    match app.services.store.token(SecretHash([0; 32])).await {
        Ok(_) => Ok(Spaced(Health { status: "ready" })),
        Err(_) => Err(ApiError::unavailable("not_ready", "the database does not answer")),
    }
}
