use serde::Serialize;

use super::Answer;
use super::spaced::Spaced;
use crate::auth::Access;

#[derive(Serialize)]
pub(super) struct Pong {
    status: &'static str,
}

pub(super) async fn ping(_: Access) -> Answer<Pong> {
    Ok(Spaced(Pong { status: "pong" }))
}
