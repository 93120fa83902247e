//! Endpoint that uploads a component, built elsewhere, as a revision of a branch.

use axum::extract::{FromRequest, Path, Request, State};

use super::Answer;
use super::body::Bytes;
use super::dto::{OK, SavedVersion};
use super::names;
use super::query::Params;
use super::spaced::Spaced;
use crate::app::App;
use crate::auth::ProjectAccess;
use crate::error::ApiError;
use iottly_cloud::rollout::FlashError;
use iottly_core::model::MAX_MESSAGE_BYTES;

/// Saves a component, as built by `iottly build`, as the next revision of a branch.
///
/// The component is checked, but not run.
#[utoipa::path(
    post,
    path = "/branches/{branch}/component",
    tag = "branches",
    params(("message" = Option<String>, Query, description = "Message of the revision")),
    request_body(content = String, content_type = "application/wasm", description = "The component, at most 16 MiB"),
    responses((status = 200, description = "The saved revision; the newest one if it has the same component", body = SavedVersion))
)]
pub(super) async fn upload(
    access: ProjectAccess,
    State(app): State<App>,
    Path((_, branch)): Path<(String, String)>,
    params: Params,
    request: Request,
) -> Answer<SavedVersion> {
    let message = names::bounded(
        "message",
        params.get("message").unwrap_or_default().to_owned(),
        MAX_MESSAGE_BYTES,
    )?;
    let store = &access.services().store;
    let branches = store.branches(access.id()).await?;
    if !branches.iter().any(|known| known.name == branch) {
        return Err(ApiError::missing("branch is unknown in this project"));
    }
    let rollouts = &access.services().rollouts;
    rollouts.spare_disk().await?;
    // Acquired before the body is read, because a received component is held in memory.
    let _turn = rollouts
        .upload_turn(access.id())
        .await
        .map_err(FlashError::from)?;
    let Bytes(component) = Bytes::from_request(request, &app).await?;
    let changed = rollouts
        .upload(access.principal(), &branch, message, component)
        .await?;
    let number = changed.revision.unwrap_or_default();
    let saved = store.revision(access.id(), &branch, number).await?;
    let (revision, _) = saved.ok_or_else(|| ApiError::missing("branch has no such revision"))?;
    Ok(Spaced(SavedVersion {
        revision: revision.into(),
        created: changed.affected > 0,
        status: OK,
    }))
}
