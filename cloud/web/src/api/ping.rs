//! Endpoints that confirm a valid token.

use super::Answer;
use super::dto::Pong;
use super::spaced::Spaced;
use crate::auth::Access;

/// Returns `pong` for a valid token.
#[utoipa::path(
    get,
    path = "/ping",
    tag = "service",
    responses((status = 200, description = "The token is valid", body = Pong))
)]
pub(super) async fn ping(_: Access) -> Answer<Pong> {
    Ok(Spaced(Pong { status: "pong" }))
}

/// Returns `pong` for a valid token, under the path of the newer documentation.
#[utoipa::path(
    get,
    path = "/project/ping",
    tag = "service",
    responses((status = 200, description = "The token is valid", body = Pong))
)]
pub(super) async fn project_ping(access: Access) -> Answer<Pong> {
    ping(access).await
}
