//! Endpoints for drafts: texts of files that the caller has typed and not saved to the working copy.

use axum::extract::Path;

use super::Answer;
use super::body::JsonBody;
use super::code_files::{self, Typed};
use super::dto::{Done, DraftDto, DraftEdit, DraftList, DraftSummary, OK, OneDraft};
use super::spaced::Spaced;
use crate::auth::ProjectAccess;
use crate::error::ApiError;
use iottly_core::code::CodeFile;

/// Lists the caller's drafts on a branch.
///
/// A draft belongs to the person or token that keeps it; others do not see it.
#[utoipa::path(
    get,
    path = "/branches/{branch}/drafts",
    tag = "branches",
    responses((status = 200, description = "The drafts, without their texts", body = DraftList))
)]
pub(super) async fn all(
    access: ProjectAccess,
    Path((_, branch)): Path<(String, String)>,
) -> Answer<DraftList> {
    code_files::branch(&access, &branch).await?;
    let code = code_files::working_copy(&access, &branch).await?;
    let (store, author) = (&access.services().store, access.principal().actor);
    let drafts = store.drafts(access.id(), &branch, author).await?;
    let drafts = drafts.into_iter().filter_map(|draft| {
        // A file may have been deleted since.
        let file = CodeFile::named(&code, &draft.file)?;
        Some(DraftSummary::new(draft, file, &code))
    });
    Ok(Spaced(DraftList {
        drafts: drafts.collect(),
        status: OK,
    }))
}

/// Returns the caller's draft of a file.
#[utoipa::path(
    get,
    path = "/branches/{branch}/drafts/{file}",
    tag = "branches",
    responses((status = 200, description = "The draft", body = OneDraft))
)]
pub(super) async fn show(
    access: ProjectAccess,
    Path((_, branch, file)): Path<(String, String, String)>,
) -> Answer<OneDraft> {
    let file = code_files::open(&access, &branch, &file).await?;
    let draft = code_files::draft(&access, &file).await?.ok_or_else(none)?;
    Ok(Spaced(OneDraft {
        draft: DraftDto::new(draft, &file),
        status: OK,
    }))
}

/// Keeps a text as the caller's draft of a file, without saving it to the working copy.
///
/// A draft is deleted when its file is saved, and after thirty days without a change.
#[utoipa::path(
    put,
    path = "/branches/{branch}/drafts/{file}",
    tag = "branches",
    request_body = DraftEdit,
    responses((status = 200, description = "The draft", body = OneDraft))
)]
pub(super) async fn keep(
    access: ProjectAccess,
    Path((_, branch, file)): Path<(String, String, String)>,
    JsonBody(body): JsonBody<DraftEdit>,
) -> Answer<OneDraft> {
    let file = code_files::open(&access, &branch, &file).await?;
    let typed = Typed {
        base: body.base.unwrap_or_else(|| file.version()),
        base_text: None,
        text: body.text,
    };
    let draft = code_files::keep_draft(&access, &file, typed).await?;
    Ok(Spaced(OneDraft {
        draft: DraftDto::new(draft, &file),
        status: OK,
    }))
}

/// Deletes the caller's draft of a file.
#[utoipa::path(
    delete,
    path = "/branches/{branch}/drafts/{file}",
    tag = "branches",
    responses((status = 200, description = "The draft was deleted", body = Done))
)]
pub(super) async fn delete(
    access: ProjectAccess,
    Path((_, branch, file)): Path<(String, String, String)>,
) -> Answer<Done> {
    let file = code_files::open(&access, &branch, &file).await?;
    if code_files::drop_draft(&access, &file).await? {
        Ok(Done::answer())
    } else {
        Err(none())
    }
}

fn none() -> ApiError {
    ApiError::missing("there is no draft of this file")
}
