//! Endpoints for branches: a working copy that is edited, and its saved revisions.

use axum::extract::Path;
use axum::http::{HeaderMap, header};

use super::Answer;
use super::body::JsonBody;
use super::code_files::{self, branch as find, working_copy};
use super::dto::{
    BranchList, Code, Differences, Done, Edit, Edits, ManifestEdit, NewBranch, NewFile, NewVersion, OK,
    OneBranch, OneRevision, Restore, RevisionDto, RevisionList, SavedVersion,
};
use super::names;
use super::paged::PageSize;
use super::query::Params;
use super::spaced::Spaced;
use crate::auth::ProjectAccess;
use crate::error::ApiError;
use iottly_cloud::clock;
use iottly_cloud::rollout::FlashError;
use iottly_core::code;
use iottly_core::model::{
    BranchCode, Change, MAX_CODE_BYTES, MAX_FILE_NAME_BYTES, MAX_MESSAGE_BYTES, Snippet, SnippetEdit,
    SnippetId, is_file_name,
};

/// Default and largest number of revisions in a response.
const DEFAULT_REVISIONS: usize = 20;
const MAX_REVISIONS: usize = 100;
/// Maximum length of a snippet's description, in bytes.
const MAX_DESCRIPTION_BYTES: usize = 2048;

/// Lists the branches of the project.
#[utoipa::path(
    get,
    path = "/branches",
    tag = "branches",
    responses((status = 200, description = "The branches", body = BranchList))
)]
pub(super) async fn all(access: ProjectAccess) -> Answer<BranchList> {
    let branches = access.services().store.branches(access.id()).await?;
    Ok(Spaced(BranchList {
        branches: branches.into_iter().map(Into::into).collect(),
        status: OK,
    }))
}

/// Returns a branch with its working copy.
#[utoipa::path(
    get,
    path = "/branches/{branch}",
    tag = "branches",
    responses((status = 200, description = "The branch with its working copy", body = OneBranch))
)]
pub(super) async fn show(
    access: ProjectAccess,
    Path((_, name)): Path<(String, String)>,
) -> Answer<OneBranch> {
    answer(&access, &name).await
}

/// Creates a branch: with new snippets, or with a copy of another branch's working copy.
#[utoipa::path(
    post,
    path = "/branches",
    tag = "branches",
    request_body = NewBranch,
    responses((status = 200, description = "The new branch with its working copy", body = OneBranch))
)]
pub(super) async fn create(access: ProjectAccess, JsonBody(body): JsonBody<NewBranch>) -> Answer<OneBranch> {
    let name = names::word("branch", &body.name)?;
    access.services().rollouts.spare_disk().await?;
    access
        .change(
            Change::CreateBranch {
                name: name.clone(),
                from: body.from,
            },
            clock::now(),
        )
        .await?;
    answer(&access, &name).await
}

/// Deletes a branch and its revisions. Refused while a deployment group follows the branch.
#[utoipa::path(
    delete,
    path = "/branches/{branch}",
    tag = "branches",
    responses((status = 200, description = "The branch was deleted", body = Done))
)]
pub(super) async fn delete(access: ProjectAccess, Path((_, name)): Path<(String, String)>) -> Answer<Done> {
    access.change(Change::DeleteBranch(name), clock::now()).await?;
    Ok(Done::answer())
}

/// Saves the named snippets to the working copy.
///
/// With `If-Match: "<digest>"`, the digest of the working copy that the caller has read, or with a `base` in an edit, the
/// request is refused with 409 and the code `stale` if someone else has saved meanwhile.
#[utoipa::path(
    put,
    path = "/branches/{branch}/snippets",
    tag = "branches",
    params(("If-Match" = Option<String>, Header, description = "`digest` of the working copy that the request is based on, in quotation marks")),
    request_body = Edits,
    responses((status = 200, description = "The branch with the saved working copy", body = OneBranch))
)]
pub(super) async fn save(
    access: ProjectAccess,
    Path((_, name)): Path<(String, String)>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<Edits>,
) -> Answer<OneBranch> {
    access.services().rollouts.spare_disk().await?;
    let code = working_copy(&access, &name).await?;
    let matched = matches(&headers, &code)?;
    let edits = body
        .snippets
        .into_iter()
        .map(|edit| resolve(edit, &code.snippets, matched))
        .collect::<Result<_, _>>()?;
    access
        .change(Change::SaveSnippets(name.clone(), edits), clock::now())
        .await?;
    answer(&access, &name).await
}

/// Returns true if a request names the working copy that it is based on, and that is the present one.
///
/// # Errors
/// 409 if it names another one.
fn matches(headers: &HeaderMap, code: &BranchCode) -> Result<bool, ApiError> {
    let Some(named) = headers.get(header::IF_MATCH) else {
        return Ok(false);
    };
    let named = named.to_str().unwrap_or_default().trim();
    if named == "*" || named.trim_matches('"') == code::digest(code) {
        return Ok(named != "*");
    }
    Err(ApiError::conflict(
        "stale",
        "the working copy was changed by someone else since this edit began",
    ))
}

fn resolve(edit: Edit, snippets: &[Snippet], matched: bool) -> Result<SnippetEdit, ApiError> {
    let id = match (edit.snippetid, edit.name) {
        (Some(id), None) => id,
        (None, Some(name)) => {
            let found = snippets.iter().find(|snippet| snippet.name == name);
            found
                .ok_or_else(|| {
                    ApiError::missing(format!(
                        "branch has no snippet {:?}",
                        iottly_protocol::limits::clip(&name, 64)
                    ))
                })?
                .id
        }
        _ => {
            return Err(ApiError::invalid(
                "invalid_body",
                "a snippet is named either by snippetid or by name",
            ));
        }
    };
    let code = edit
        .code
        .map(|code| names::bounded("code", code, MAX_CODE_BYTES))
        .transpose()?;
    let name = edit.rename.as_deref().map(file_name).transpose()?;
    let description = edit
        .description
        .map(|text| names::bounded("description", text, MAX_DESCRIPTION_BYTES))
        .transpose()?;
    // The change itself then refuses what was saved between the check of `If-Match` and now.
    let present = || snippets.iter().find(|snippet| snippet.id == id);
    let base = edit.base.or_else(|| {
        matched
            .then(present)
            .flatten()
            .map(|found| code::version(&found.code))
    });
    Ok(SnippetEdit {
        id,
        code,
        name,
        description,
        base,
    })
}

/// Adds a file to the working copy. All files and sections share one scope: what a file declares, the others can use.
#[utoipa::path(
    post,
    path = "/branches/{branch}/files",
    tag = "branches",
    request_body = NewFile,
    responses((status = 200, description = "The branch with the new working copy", body = OneBranch))
)]
pub(super) async fn add_file(
    access: ProjectAccess,
    Path((_, branch)): Path<(String, String)>,
    JsonBody(body): JsonBody<NewFile>,
) -> Answer<OneBranch> {
    add(&access, &branch, &body.name, body.code).await?;
    answer(&access, &branch).await
}

/// Adds a file to the working copy of a branch.
pub(crate) async fn add(
    access: &ProjectAccess,
    branch: &str,
    name: &str,
    code: String,
) -> Result<(), ApiError> {
    let change = Change::AddFile {
        branch: branch.to_owned(),
        id: SnippetId::random(),
        name: file_name(name)?,
        code: code_files::bounded_code(code)?,
    };
    access.services().rollouts.spare_disk().await?;
    access.change(change, clock::now()).await.map(drop)
}

/// Returns the name of a file, if one may have it.
pub(crate) fn file_name(given: &str) -> Result<String, ApiError> {
    if is_file_name(given) {
        return Ok(given.to_owned());
    }
    let shown = iottly_protocol::limits::clip(given, MAX_FILE_NAME_BYTES);
    Err(ApiError::invalid(
        "invalid_name",
        format!(
            "file name {shown:?} is not letters, digits, \"_\" or \"-\" and then \".js\", at most {MAX_FILE_NAME_BYTES} bytes, without \"_\" at the beginning"
        ),
    ))
}

/// Saves the `firmware.toml` of the working copy: what the code uses of a board, and the sizes that it needs.
///
/// A device runs the code only if it grants what is named there. Without a manifest the code uses nothing of a
/// board.
#[utoipa::path(
    put,
    path = "/branches/{branch}/manifest",
    tag = "branches",
    params(("If-Match" = Option<String>, Header, description = "`digest` of the working copy that the request is based on, in quotation marks")),
    request_body = ManifestEdit,
    responses((status = 200, description = "The branch with the saved working copy", body = OneBranch))
)]
pub(super) async fn save_manifest(
    access: ProjectAccess,
    Path((_, branch)): Path<(String, String)>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<ManifestEdit>,
) -> Answer<OneBranch> {
    if let Some(text) = &body.manifest {
        code_files::check_manifest(text)?;
    }
    access.services().rollouts.spare_disk().await?;
    set_manifest(&access, branch, body.manifest, (body.base, headers)).await
}

/// Removes the `firmware.toml` of the working copy; the code then uses nothing of a board.
#[utoipa::path(
    delete,
    path = "/branches/{branch}/manifest",
    tag = "branches",
    params(("If-Match" = Option<String>, Header, description = "`digest` of the working copy that the request is based on, in quotation marks")),
    responses((status = 200, description = "The branch with the saved working copy", body = OneBranch))
)]
pub(super) async fn delete_manifest(
    access: ProjectAccess,
    Path((_, branch)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer<OneBranch> {
    set_manifest(&access, branch, None, (None, headers)).await
}

async fn set_manifest(
    access: &ProjectAccess,
    branch: String,
    manifest: Option<String>,
    (base, headers): (Option<String>, HeaderMap),
) -> Answer<OneBranch> {
    let code = working_copy(access, &branch).await?;
    let matched = matches(&headers, &code)?;
    let present = || code::version(code.manifest.as_deref().unwrap_or_default());
    let base = base.or_else(|| matched.then(present));
    let change = Change::SaveManifest {
        branch: branch.clone(),
        manifest,
        base,
    };
    access.change(change, clock::now()).await?;
    answer(access, &branch).await
}

/// Deletes a file that has a name of its own, or a handler whose command is not defined any more.
#[utoipa::path(
    delete,
    path = "/branches/{branch}/snippets/{snippet}",
    tag = "branches",
    responses((status = 200, description = "The snippet was deleted", body = Done))
)]
pub(super) async fn delete_snippet(
    access: ProjectAccess,
    Path((_, name, id)): Path<(String, String, String)>,
) -> Answer<Done> {
    let id = id
        .parse()
        .map_err(|_| ApiError::missing("branch has no such snippet"))?;
    access
        .change(Change::DeleteSnippet(name, id), clock::now())
        .await?;
    Ok(Done::answer())
}

/// Lists the revisions of a branch, newest first.
#[utoipa::path(
    get,
    path = "/branches/{branch}/revisions",
    tag = "branches",
    params(
        ("numRevisions" = Option<i64>, Query, minimum = 1, description = "Maximum number of revisions; 20 by default, 100 at most"),
        ("before" = Option<i64>, Query, minimum = 1, description = "`next` of the previous page"),
    ),
    responses((status = 200, description = "The revisions, newest first", body = RevisionList))
)]
pub(super) async fn revisions(
    access: ProjectAccess,
    Path((_, name)): Path<(String, String)>,
    params: Params,
) -> Answer<RevisionList> {
    find(&access, &name).await?;
    let size = PageSize::read(&params, "numRevisions", DEFAULT_REVISIONS, MAX_REVISIONS)?;
    let store = &access.services().store;
    let revisions = store
        .revisions(access.id(), &name, params.number("before")?, size.to_read())
        .await?;
    let (revisions, next) = size.cut(revisions, |last| last.number);
    Ok(Spaced(RevisionList {
        revisions,
        next,
        status: OK,
    }))
}

/// Returns a revision with its code.
#[utoipa::path(
    get,
    path = "/branches/{branch}/revisions/{revision}",
    tag = "branches",
    responses((status = 200, description = "The revision with its code", body = OneRevision))
)]
pub(super) async fn revision(
    access: ProjectAccess,
    Path((_, name, number)): Path<(String, String, String)>,
) -> Answer<OneRevision> {
    let (revision, code) = saved(&access, &name, number.parse().ok()).await?;
    Ok(Spaced(OneRevision {
        revision,
        code: Code::new(code),
        status: OK,
    }))
}

/// Saves the working copy as the next revision.
#[utoipa::path(
    post,
    path = "/branches/{branch}/revisions",
    tag = "branches",
    request_body = NewVersion,
    responses((status = 200, description = "The saved revision; the newest one if nothing has changed since", body = SavedVersion))
)]
pub(super) async fn save_version(
    access: ProjectAccess,
    Path((_, branch)): Path<(String, String)>,
    JsonBody(body): JsonBody<NewVersion>,
) -> Answer<SavedVersion> {
    let message = names::bounded("message", body.message, MAX_MESSAGE_BYTES)?;
    access.services().rollouts.spare_disk().await?;
    let changed = access
        .change(
            Change::SaveVersion {
                branch: branch.clone(),
                message,
            },
            clock::now(),
        )
        .await?;
    let (revision, _) = saved(&access, &branch, changed.revision).await?;
    Ok(Spaced(SavedVersion {
        revision,
        created: changed.affected > 0,
        status: OK,
    }))
}

/// Replaces the working copy with a revision.
#[utoipa::path(
    post,
    path = "/branches/{branch}/restore",
    tag = "branches",
    request_body = Restore,
    responses((status = 200, description = "The branch with the restored working copy", body = OneBranch))
)]
pub(super) async fn restore(
    access: ProjectAccess,
    Path((_, branch)): Path<(String, String)>,
    JsonBody(body): JsonBody<Restore>,
) -> Answer<OneBranch> {
    access.services().rollouts.spare_disk().await?;
    access
        .change(
            Change::RestoreRevision {
                branch: branch.clone(),
                number: body.revision,
            },
            clock::now(),
        )
        .await?;
    answer(&access, &branch).await
}

/// Compares two revisions, or a revision with the working copy.
#[utoipa::path(
    get,
    path = "/branches/{branch}/diff",
    tag = "branches",
    params(
        ("from" = Option<i64>, Query, minimum = 1, description = "Number of the revision to compare from; the newest one by default"),
        ("to" = Option<i64>, Query, minimum = 1, description = "Number of the revision to compare to; the working copy by default"),
    ),
    responses((status = 200, description = "The changed snippets, and the change of the manifest", body = Differences))
)]
pub(super) async fn diff(
    access: ProjectAccess,
    Path((_, name)): Path<(String, String)>,
    params: Params,
) -> Answer<Differences> {
    let head = find(&access, &name).await?.head;
    let (from, to) = (
        params.number("from")?.or((head > 0).then_some(head)),
        params.number("to")?,
    );
    let old = match from {
        Some(_) => saved(&access, &name, from).await?.1,
        None => BranchCode::default(),
    };
    let new = match to {
        Some(_) => saved(&access, &name, to).await?.1,
        None => working_copy(&access, &name).await?,
    };
    let turn = access
        .services()
        .rollouts
        .diff_turn(access.id())
        .await
        .map_err(FlashError::from)?;
    let work = move || {
        let _turn = turn;
        code::diff(&old, &new)
    };
    let found = tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| ApiError::internal(&error))?;
    Ok(Spaced(Differences {
        from,
        to,
        snippets: found.snippets.into_iter().map(Into::into).collect(),
        manifest: found.manifest.map(Into::into),
        status: OK,
    }))
}

async fn saved(
    access: &ProjectAccess,
    branch: &str,
    number: Option<u64>,
) -> Result<(RevisionDto, BranchCode), ApiError> {
    let missing = || ApiError::missing("branch has no such revision");
    let number = number.ok_or_else(missing)?;
    let (revision, code) = access
        .services()
        .store
        .revision(access.id(), branch, number)
        .await?
        .ok_or_else(missing)?;
    Ok((revision.into(), code))
}

async fn answer(access: &ProjectAccess, name: &str) -> Answer<OneBranch> {
    let branch = find(access, name).await?;
    let code = working_copy(access, name).await?;
    let head = access
        .services()
        .store
        .revisions(access.id(), name, None, 1)
        .await?;
    let digest = code::digest(&code);
    let unsaved = head.first().is_none_or(|head| head.digest != digest);
    Ok(Spaced(OneBranch {
        branch: branch.into(),
        code: Code::new(code),
        digest,
        unsaved,
        status: OK,
    }))
}
