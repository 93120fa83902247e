//! Branches: a working copy that is saved, and versions of it that stay.

use axum::extract::Path;
use serde::{Deserialize, Serialize};

use super::Answer;
use super::body::JsonBody;
use super::code_dto::{BranchDto, Code, DiffDto, RevisionDto};
use super::dto::{Done, OK};
use super::query::Params;
use super::spaced::Spaced;
use super::text;
use crate::auth::ProjectAccess;
use crate::clock;
use crate::code;
use crate::error::ApiError;
use crate::model::{Branch, Change, MAX_CODE_BYTES, MAX_MESSAGE_BYTES, Snippet, SnippetEdit, SnippetId};

/// Revisions in an answer unless the request says otherwise, and at most.
const DEFAULT_REVISIONS: usize = 20;
const MAX_REVISIONS: usize = 100;
/// Longest description of a snippet, bytes.
const MAX_DESCRIPTION_BYTES: usize = 2048;

#[derive(Serialize)]
pub(super) struct All {
    branches: Vec<BranchDto>,
    status: u16,
}

#[derive(Serialize)]
pub(super) struct One {
    branch: BranchDto,
    #[serde(flatten)]
    code: Code,
    /// Whether the working copy differs from the newest revision.
    unsaved: bool,
    status: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewBranch {
    name: String,
    from: Option<String>,
}

pub(super) async fn all(access: ProjectAccess) -> Answer<All> {
    let branches = access.services().store.branches(access.id()).await?;
    Ok(Spaced(All { branches: branches.into_iter().map(Into::into).collect(), status: OK }))
}

/// A branch with its working copy.
pub(super) async fn show(access: ProjectAccess, Path((_, name)): Path<(String, String)>) -> Answer<One> {
    answer(&access, &name).await
}

/// Makes a branch: fresh, or with a copy of another's working copy.
pub(super) async fn create(access: ProjectAccess, JsonBody(body): JsonBody<NewBranch>) -> Answer<One> {
    let name = text::word("branch", &body.name)?;
    access.change(Change::CreateBranch { name: name.clone(), from: body.from }, clock::now()).await?;
    answer(&access, &name).await
}

pub(super) async fn delete(access: ProjectAccess, Path((_, name)): Path<(String, String)>) -> Answer<Done> {
    access.change(Change::DeleteBranch(name), clock::now()).await?;
    Ok(Done::answer())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Edits {
    snippets: Vec<Edit>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Edit {
    snippetid: Option<SnippetId>,
    /// In place of the id: the name, for handlers and the sections `global`, `init` and `loop`.
    name: Option<String>,
    code: Option<String>,
    description: Option<String>,
}

/// Saves the working copy: the snippets that are named.
pub(super) async fn save(
    access: ProjectAccess,
    Path((_, name)): Path<(String, String)>,
    JsonBody(body): JsonBody<Edits>,
) -> Answer<One> {
    let snippets = working_copy(&access, &name).await?;
    let edits = body.snippets.into_iter().map(|edit| resolve(edit, &snippets)).collect::<Result<_, _>>()?;
    access.change(Change::SaveSnippets(name.clone(), edits), clock::now()).await?;
    answer(&access, &name).await
}

fn resolve(edit: Edit, snippets: &[Snippet]) -> Result<SnippetEdit, ApiError> {
    let id = match (edit.snippetid, edit.name) {
        (Some(id), None) => id,
        (None, Some(name)) => {
            let found = snippets.iter().find(|snippet| snippet.name == name);
            found
                .ok_or_else(|| {
                    ApiError::missing(format!("branch has no snippet {:?}", iottly_protocol::limits::clip(&name, 64)))
                })?
                .id
        }
        _ => return Err(ApiError::invalid("invalid_body", "a snippet is given by snippetid or by name")),
    };
    let code = edit.code.map(|code| text::bounded("code", code, MAX_CODE_BYTES)).transpose()?;
    let description = edit.description.map(|text| text::bounded("description", text, MAX_DESCRIPTION_BYTES)).transpose()?;
    Ok(SnippetEdit { id, code, description })
}

/// Deletes a handler that no command calls.
pub(super) async fn delete_snippet(access: ProjectAccess, Path((_, name, id)): Path<(String, String, String)>) -> Answer<Done> {
    let id = id.parse().map_err(|_| ApiError::missing("branch has no such snippet"))?;
    access.change(Change::DeleteSnippet(name, id), clock::now()).await?;
    Ok(Done::answer())
}

#[derive(Serialize)]
pub(super) struct Revisions {
    revisions: Vec<RevisionDto>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
    status: u16,
}

/// The saved versions of a branch, newest first.
pub(super) async fn revisions(
    access: ProjectAccess,
    Path((_, name)): Path<(String, String)>,
    params: Params,
) -> Answer<Revisions> {
    find(&access, &name).await?;
    let limit = params.count("numRevisions", DEFAULT_REVISIONS, MAX_REVISIONS)?;
    let store = &access.services().store;
    let mut revisions = store.revisions(access.id(), &name, params.number("before")?, limit + 1).await?;
    let more = revisions.len() > limit;
    revisions.truncate(limit);
    let next = revisions.last().filter(|_| more).map(|last| last.number);
    Ok(Spaced(Revisions { revisions: revisions.into_iter().map(Into::into).collect(), next, status: OK }))
}

#[derive(Serialize)]
pub(super) struct OneRevision {
    revision: RevisionDto,
    #[serde(flatten)]
    code: Code,
    status: u16,
}

pub(super) async fn revision(
    access: ProjectAccess,
    Path((_, name, number)): Path<(String, String, String)>,
) -> Answer<OneRevision> {
    let (revision, snippets) = saved(&access, &name, number.parse().ok()).await?;
    Ok(Spaced(OneRevision { revision, code: Code::new(snippets), status: OK }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Version {
    #[serde(default)]
    message: String,
}

#[derive(Serialize)]
pub(super) struct Saved {
    revision: RevisionDto,
    /// False when the newest revision holds exactly this already.
    created: bool,
    status: u16,
}

/// Saves the working copy as the next revision.
pub(super) async fn save_version(
    access: ProjectAccess,
    Path((_, branch)): Path<(String, String)>,
    JsonBody(body): JsonBody<Version>,
) -> Answer<Saved> {
    let message = text::bounded("message", body.message, MAX_MESSAGE_BYTES)?;
    let changed = access.change(Change::SaveVersion { branch: branch.clone(), message }, clock::now()).await?;
    let (revision, _) = saved(&access, &branch, changed.revision).await?;
    Ok(Spaced(Saved { revision, created: changed.affected > 0, status: OK }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Restore {
    revision: u64,
}

/// Replaces the working copy by a revision.
pub(super) async fn restore(
    access: ProjectAccess,
    Path((_, branch)): Path<(String, String)>,
    JsonBody(body): JsonBody<Restore>,
) -> Answer<One> {
    access.change(Change::RestoreRevision { branch: branch.clone(), number: body.revision }, clock::now()).await?;
    answer(&access, &branch).await
}

#[derive(Serialize)]
pub(super) struct Differences {
    from: Option<u64>,
    to: Option<u64>,
    snippets: Vec<DiffDto>,
    status: u16,
}

/// What is different between two revisions; without `from` the newest, without `to` the working copy.
pub(super) async fn diff(access: ProjectAccess, Path((_, name)): Path<(String, String)>, params: Params) -> Answer<Differences> {
    let head = find(&access, &name).await?.head;
    let (from, to) = (params.number("from")?.or((head > 0).then_some(head)), params.number("to")?);
    let old = match from {
        Some(_) => saved(&access, &name, from).await?.1,
        None => Vec::new(),
    };
    let new = match to {
        Some(_) => saved(&access, &name, to).await?.1,
        None => working_copy(&access, &name).await?,
    };
    let snippets = code::diff(&old, &new).into_iter().map(Into::into).collect();
    Ok(Spaced(Differences { from, to, snippets, status: OK }))
}

fn unknown() -> ApiError {
    ApiError::missing("branch is unknown in this project")
}

async fn find(access: &ProjectAccess, name: &str) -> Result<Branch, ApiError> {
    let branches = access.services().store.branches(access.id()).await?;
    branches.into_iter().find(|branch| branch.name == name).ok_or_else(unknown)
}

async fn working_copy(access: &ProjectAccess, name: &str) -> Result<Vec<Snippet>, ApiError> {
    access.services().store.snippets(access.id(), name).await?.ok_or_else(unknown)
}

async fn saved(access: &ProjectAccess, branch: &str, number: Option<u64>) -> Result<(RevisionDto, Vec<Snippet>), ApiError> {
    let missing = || ApiError::missing("branch has no such revision");
    let number = number.ok_or_else(missing)?;
    let (revision, snippets) = access.services().store.revision(access.id(), branch, number).await?.ok_or_else(missing)?;
    Ok((revision.into(), snippets))
}

async fn answer(access: &ProjectAccess, name: &str) -> Answer<One> {
    let branch = find(access, name).await?;
    let snippets = working_copy(access, name).await?;
    let head = access.services().store.revisions(access.id(), name, None, 1).await?;
    let unsaved = head.first().is_none_or(|head| head.digest != code::digest(&snippets));
    Ok(Spaced(One { branch: branch.into(), code: Code::new(snippets), unsaved, status: OK }))
}
