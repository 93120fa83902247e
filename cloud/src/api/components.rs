//! Uploads: a component that was built elsewhere as a revision of a branch.

use axum::extract::Path;
use sha2::{Digest, Sha256};

use super::Answer;
use super::body::Bytes;
use super::dto::{OK, SavedVersion};
use super::query::Params;
use super::spaced::Spaced;
use super::text;
use crate::auth::ProjectAccess;
use crate::clock;
use crate::error::ApiError;
use crate::model::{Change, MAX_MESSAGE_BYTES};
use crate::rollout::FlashError;

/// Saves a component, as `iottly build` makes it, as the next revision of a branch. It is checked, not run.
#[utoipa::path(
    post,
    path = "/branches/{branch}/component",
    tag = "branches",
    params(("message" = Option<String>, Query, description = "What the author says about it")),
    request_body(content = String, content_type = "application/wasm", description = "The component, at most 16 MiB"),
    responses((status = 200, description = "The answer", body = SavedVersion))
)]
pub(super) async fn upload(
    access: ProjectAccess,
    Path((_, branch)): Path<(String, String)>,
    params: Params,
    Bytes(component): Bytes,
) -> Answer<SavedVersion> {
    let message = text::bounded("message", params.get("message").unwrap_or_default().to_owned(), MAX_MESSAGE_BYTES)?;
    let store = &access.services().store;
    let branches = store.branches(access.id()).await?;
    if !branches.iter().any(|known| known.name == branch) {
        return Err(ApiError::missing("branch is unknown in this project"));
    }
    let (rollouts, project) = (access.services().rollouts.clone(), access.id());
    let sha256 = keep(move || {
        let builder = rollouts.builder().ok_or(FlashError::NoBuilder)?;
        (builder.imports)(&component)?;
        let sha256: String = Sha256::digest(&component).iter().map(|byte| format!("{byte:02x}")).collect();
        rollouts.shelf().keep(project, &sha256, &component)?;
        Ok(sha256)
    })
    .await?;
    let changed = access.change(Change::SaveComponent { branch: branch.clone(), message, sha256 }, clock::now()).await?;
    let number = changed.revision.unwrap_or_default();
    let saved = store.revision(access.id(), &branch, number).await?;
    let (revision, _) = saved.ok_or_else(|| ApiError::missing("branch has no such revision"))?;
    Ok(Spaced(SavedVersion { revision: revision.into(), created: changed.affected > 0, status: OK }))
}

async fn keep(work: impl FnOnce() -> Result<String, FlashError> + Send + 'static) -> Result<String, ApiError> {
    let done = tokio::task::spawn_blocking(work).await;
    // A component that confuses its reader to death is at fault itself.
    let unreadable = |_| ApiError::invalid("invalid_component", "the component cannot be read");
    Ok(done.map_err(unreadable)??)
}
