use super::Answer;
use super::dto::Pong;
use super::spaced::Spaced;
use crate::auth::Access;

/// Answers `pong` to a valid token.
#[utoipa::path(
    get,
    path = "/ping",
    tag = "service",
    responses((status = 200, description = "The answer", body = Pong))
)]
pub(super) async fn ping(_: Access) -> Answer<Pong> {
    Ok(Spaced(Pong { status: "pong" }))
}

/// Answers `pong` at the address that the newer documentation gives.
#[utoipa::path(
    get,
    path = "/project/ping",
    tag = "service",
    responses((status = 200, description = "The answer", body = Pong))
)]
pub(super) async fn project_ping(access: Access) -> Answer<Pong> {
    ping(access).await
}
