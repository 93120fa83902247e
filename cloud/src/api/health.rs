//! Whether the cloud runs and can work; open to everyone.

use axum::extract::State;
use serde::Serialize;

use super::Answer;
use super::spaced::Spaced;
use crate::error::ApiError;
use crate::http::App;
use crate::model::SecretHash;

#[derive(Serialize)]
pub(crate) struct Health {
    status: &'static str,
}

pub(crate) async fn healthz() -> Answer<Health> {
    Ok(Spaced(Health { status: "ok" }))
}

pub(crate) async fn readyz(State(app): State<App>) -> Answer<Health> {
    // Any indexed look-up shows that the database answers.
    match app.services.store.token(SecretHash([0; 32])).await {
        Ok(_) => Ok(Spaced(Health { status: "ready" })),
        Err(_) => Err(ApiError::unavailable("not_ready", "the database does not answer")),
    }
}
