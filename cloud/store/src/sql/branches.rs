//! Branches: their working copies and the limits of these.

use iottly_protocol::ProjectId;

use super::db::{self, Conn};
use super::{code_usage, codec, definitions, full, missing, rollouts, snippets, taken};
use crate::{Result, StoreError};
use iottly_core::code;
use iottly_core::code::HandlerChange;
use iottly_core::model::{
    BranchCode, Definition, MAX_BRANCHES, MAX_SNIPPETS, Snippet, SnippetEdit, SnippetId, SnippetKind, UnixMs,
};

/// Adds the first branch of a new project.
pub(super) async fn seed(
    tx: &mut Conn,
    project: ProjectId,
    name: &str,
    definitions: &[Definition],
    now: UnixMs,
) -> Result<()> {
    insert(tx, project, name, None, now).await?;
    snippets::replace(
        tx,
        project,
        name,
        &[],
        &code::fresh(definitions, SnippetId::random),
    )
    .await
}

/// Adds the initial snippets to branches that have none: those that a schema migration created.
pub(super) async fn complete_empty(connection: &mut Conn) -> Result<()> {
    let mut tx = db::begin(connection).await?;
    let rows = sqlx::query(
        "SELECT project, name FROM branches b WHERE NOT EXISTS \
         (SELECT 1 FROM snippets s WHERE s.project = b.project AND s.branch = b.name)",
    )
    .fetch_all(&mut *tx)
    .await?;
    for row in &rows {
        let (project, branch): (ProjectId, String) = (
            codec::project(row, "branches", "project")?,
            codec::get(row, "name")?,
        );
        let content = code::fresh(&definitions::within(&mut tx, project).await?, SnippetId::random);
        snippets::replace(&mut tx, project, &branch, &[], &content).await?;
    }
    Ok(tx.commit().await?)
}

async fn insert(
    tx: &mut Conn,
    project: ProjectId,
    name: &str,
    manifest: Option<&str>,
    now: UnixMs,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO branches (project, name, created, changed, manifest) VALUES ($1, $2, $3, $3, $4)",
    )
    .bind(codec::id(&project))
    .bind(name)
    .bind(now)
    .bind(manifest)
    .execute(&mut *tx)
    .await
    .map_err(|error| taken(error, "branch", name))?;
    code_usage::add(tx, project, code_usage::manifest_weight(manifest)).await
}

pub(super) async fn create(
    tx: &mut Conn,
    project: ProjectId,
    name: &str,
    from: Option<&str>,
    now: UnixMs,
) -> Result<u64> {
    let row = sqlx::query("SELECT count(*) AS n FROM branches WHERE project = $1")
        .bind(codec::id(&project))
        .fetch_one(&mut *tx)
        .await?;
    full(codec::get(&row, "n")?, "branches", MAX_BRANCHES as i64)?;
    let content = match from {
        // Snippets keep their ids, so that a diff of two branches matches them.
        Some(from) => within(tx, project, from).await?,
        None => BranchCode {
            snippets: code::fresh(&definitions::within(tx, project).await?, SnippetId::random),
            manifest: None,
        },
    };
    let manifest = content.manifest.as_deref();
    let weight = code_usage::weight(&content.snippets) + code_usage::manifest_weight(manifest);
    code_usage::admit(tx, project, weight).await?;
    insert(tx, project, name, manifest, now).await?;
    snippets::replace(tx, project, name, &[], &content.snippets).await?;
    Ok(1)
}

pub(super) async fn delete(tx: &mut Conn, project: ProjectId, name: &str) -> Result<u64> {
    must_exist(tx, project, name).await?;
    let followed =
        sqlx::query("SELECT name FROM groups WHERE project = $1 AND branch = $2 ORDER BY name LIMIT 1")
            .bind(codec::id(&project))
            .bind(name)
            .fetch_optional(&mut *tx)
            .await?;
    if let Some(row) = followed {
        let group: String = codec::get(&row, "name")?;
        return Err(StoreError::Refused(format!(
            "branch {name:?} is followed by deployment group {group:?}"
        )));
    }
    rollouts::none_of_branch(tx, project, name).await?;
    code_usage::remove_branch(tx, project, name).await?;
    for sql in [
        "DELETE FROM snippets WHERE project = $1 AND branch = $2",
        "DELETE FROM revisions WHERE project = $1 AND branch = $2",
        "DELETE FROM code_drafts WHERE project = $1 AND branch = $2",
    ] {
        sqlx::query(sql)
            .bind(codec::id(&project))
            .bind(name)
            .execute(&mut *tx)
            .await?;
    }
    let done = sqlx::query("DELETE FROM branches WHERE project = $1 AND name = $2")
        .bind(codec::id(&project))
        .bind(name)
        .execute(tx)
        .await?;
    missing(done.rows_affected(), "branch", &name)
}

pub(super) async fn save(
    tx: &mut Conn,
    project: ProjectId,
    branch: &str,
    edits: &[SnippetEdit],
    now: UnixMs,
) -> Result<u64> {
    must_exist(tx, project, branch).await?;
    let old = snippets::within(tx, project, branch).await?;
    let mut new = old.clone();
    for edit in edits {
        let snippet = new.iter_mut().find(|snippet| snippet.id == edit.id);
        let snippet = snippet.ok_or_else(|| StoreError::Missing {
            what: "snippet",
            name: edit.id.to_string(),
        })?;
        based_on(edit.base.as_deref(), &snippet.code, "snippet", &snippet.name)?;
        if let Some(name) = edit.name.as_ref().filter(|name| **name != snippet.name) {
            if snippet.kind != SnippetKind::File {
                return Err(StoreError::Refused(format!(
                    "snippet {:?} has its name from the platform or from a command, and cannot be renamed",
                    snippet.name
                )));
            }
            snippet.name.clone_from(name);
        }
        if let Some(code) = &edit.code {
            snippet.code.clone_from(code);
        }
        if let Some(description) = &edit.description {
            snippet.description.clone_from(description);
        }
    }
    for renamed in edits.iter().filter_map(|edit| edit.name.as_deref()) {
        free_name(&new, renamed)?;
    }
    code_usage::admit(tx, project, code_usage::weight(&new) - code_usage::weight(&old)).await?;
    let affected = old.iter().zip(&new).filter(|(old, new)| old != new).count() as u64;
    write(tx, project, branch, &old, &new, now).await?;
    Ok(affected)
}

/// Adds a file with a name of its own to a working copy.
pub(super) async fn add_file(
    tx: &mut Conn,
    project: ProjectId,
    branch: &str,
    file: Snippet,
    now: UnixMs,
) -> Result<u64> {
    must_exist(tx, project, branch).await?;
    let old = snippets::within(tx, project, branch).await?;
    let name = file.name.clone();
    code_usage::admit(tx, project, code_usage::weight(std::slice::from_ref(&file))).await?;
    let new: Vec<_> = old.iter().cloned().chain([file]).collect();
    free_name(&new, &name)?;
    write(tx, project, branch, &old, &new, now).await?;
    Ok(1)
}

/// Refuses snippets of which more than one file has this name.
fn free_name(snippets: &[Snippet], name: &str) -> Result<()> {
    let files = snippets
        .iter()
        .filter(|snippet| snippet.kind == SnippetKind::File);
    if files.filter(|file| file.name == name).count() > 1 {
        return Err(StoreError::Exists {
            what: "file",
            name: name.to_owned(),
        });
    }
    Ok(())
}

pub(super) async fn delete_snippet(
    tx: &mut Conn,
    project: ProjectId,
    branch: &str,
    id: SnippetId,
    now: UnixMs,
) -> Result<u64> {
    must_exist(tx, project, branch).await?;
    let old = snippets::within(tx, project, branch).await?;
    let unknown = || StoreError::Missing {
        what: "snippet",
        name: id.to_string(),
    };
    let snippet = old.iter().find(|snippet| snippet.id == id).ok_or_else(unknown)?;
    let defined = definitions::within(tx, project).await?;
    let called = || {
        defined
            .iter()
            .any(|definition| definition.cmd_type == snippet.name)
    };
    let is_removable = match snippet.kind {
        SnippetKind::File => true,
        SnippetKind::Handler => !called(),
        SnippetKind::Global | SnippetKind::Init | SnippetKind::Loop => false,
    };
    if !is_removable {
        return Err(StoreError::Refused(format!(
            "snippet {:?} belongs to every branch and cannot be deleted",
            snippet.name
        )));
    }
    let new: Vec<_> = old.iter().filter(|snippet| snippet.id != id).cloned().collect();
    write(tx, project, branch, &old, &new, now).await?;
    Ok(1)
}

/// Adapts the handlers of all branches to a change of a command. Reads the code of no other handler: a
/// project may have a lot of code, and other writes wait meanwhile.
pub(super) async fn adapt_all(
    tx: &mut Conn,
    project: ProjectId,
    cmd_type: &str,
    change: HandlerChange,
    now: UnixMs,
) -> Result<()> {
    let rows = sqlx::query("SELECT name FROM branches WHERE project = $1 ORDER BY name")
        .bind(codec::id(&project))
        .fetch_all(&mut *tx)
        .await?;
    for row in &rows {
        let branch: String = codec::get(row, "name")?;
        let old = snippets::handlers(tx, project, &branch, cmd_type).await?;
        let mut new = old.clone();
        code::adapt(&mut new, cmd_type, change, SnippetId::random());
        let (count, bytes) = snippets::size(tx, project, &branch).await?;
        let more = code_bytes(&new) - code_bytes(&old);
        fits(count + new.len() as i64 - old.len() as i64, bytes + more)?;
        put(tx, project, &branch, &old, &new, now).await?;
    }
    Ok(())
}

/// Refuses an edit that is based on another text than the present one.
fn based_on(base: Option<&str>, present: &str, what: &'static str, name: &str) -> Result<()> {
    match base {
        Some(base) if base != code::version(present) => Err(StoreError::Stale {
            what,
            name: name.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Sets the manifest of a working copy; none removes it.
pub(super) async fn save_manifest(
    tx: &mut Conn,
    project: ProjectId,
    branch: &str,
    (manifest, base): (Option<&str>, Option<&str>),
    now: UnixMs,
) -> Result<u64> {
    let old = manifest_of(tx, project, branch)
        .await?
        .ok_or_else(|| unknown(branch))?;
    based_on(
        base,
        old.as_deref().unwrap_or_default(),
        "file",
        code::MANIFEST_FILE,
    )?;
    let more = code_usage::manifest_weight(manifest) - code_usage::manifest_weight(old.as_deref());
    code_usage::admit(tx, project, more).await?;
    put_manifest(tx, project, branch, old.as_deref(), manifest, now).await
}

/// Writes the manifest of a working copy, if it changed. Returns the number of changes.
pub(super) async fn put_manifest(
    tx: &mut Conn,
    project: ProjectId,
    branch: &str,
    old: Option<&str>,
    new: Option<&str>,
    now: UnixMs,
) -> Result<u64> {
    if old == new {
        return Ok(0);
    }
    sqlx::query("UPDATE branches SET manifest = $3, changed = $4 WHERE project = $1 AND name = $2")
        .bind(codec::id(&project))
        .bind(branch)
        .bind(new)
        .bind(now)
        .execute(&mut *tx)
        .await?;
    let more = code_usage::manifest_weight(new) - code_usage::manifest_weight(old);
    code_usage::add(tx, project, more).await?;
    Ok(1)
}

/// Writes the snippets of a working copy, if they changed.
pub(super) async fn write(
    tx: &mut Conn,
    project: ProjectId,
    branch: &str,
    old: &[Snippet],
    new: &[Snippet],
    now: UnixMs,
) -> Result<()> {
    fits(new.len() as i64, code_bytes(new))?;
    put(tx, project, branch, old, new, now).await
}

fn code_bytes(snippets: &[Snippet]) -> i64 {
    let bytes: usize = snippets.iter().map(|snippet| snippet.code.len()).sum();
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Refuses a working copy with more snippets or bytes of code than a branch may have.
fn fits(snippets: i64, bytes: i64) -> Result<()> {
    full(snippets - 1, "snippets of a branch", MAX_SNIPPETS as i64)?;
    full(
        bytes - 1,
        "bytes of code in a branch",
        iottly_core::model::MAX_BRANCH_BYTES as i64,
    )
}

/// Writes the differences of a working copy.
async fn put(
    tx: &mut Conn,
    project: ProjectId,
    branch: &str,
    old: &[Snippet],
    new: &[Snippet],
    now: UnixMs,
) -> Result<()> {
    if old == new {
        return Ok(());
    }
    snippets::replace(tx, project, branch, old, new).await?;
    sqlx::query("UPDATE branches SET changed = $3 WHERE project = $1 AND name = $2")
        .bind(codec::id(&project))
        .bind(branch)
        .bind(now)
        .execute(tx)
        .await?;
    Ok(())
}

pub(super) async fn must_exist(tx: &mut Conn, project: ProjectId, branch: &str) -> Result<()> {
    let row = sqlx::query("SELECT name FROM branches WHERE project = $1 AND name = $2")
        .bind(codec::id(&project))
        .bind(branch)
        .fetch_optional(tx)
        .await?;
    row.map(|_| ()).ok_or_else(|| unknown(branch))
}

/// Returns the working copy of a branch; none if the branch does not exist.
pub(super) async fn working_copy(
    connection: &mut Conn,
    project: ProjectId,
    branch: &str,
) -> Result<Option<BranchCode>> {
    let Some(manifest) = manifest_of(connection, project, branch).await? else {
        return Ok(None);
    };
    let snippets = snippets::within(connection, project, branch).await?;
    Ok(Some(BranchCode { snippets, manifest }))
}

/// Returns the working copy of a branch.
pub(super) async fn within(tx: &mut Conn, project: ProjectId, branch: &str) -> Result<BranchCode> {
    working_copy(tx, project, branch)
        .await?
        .ok_or_else(|| unknown(branch))
}

/// Returns the manifest of a branch, if it has one; none if the branch does not exist.
async fn manifest_of(
    connection: &mut Conn,
    project: ProjectId,
    branch: &str,
) -> Result<Option<Option<String>>> {
    let row = sqlx::query("SELECT manifest FROM branches WHERE project = $1 AND name = $2")
        .bind(codec::id(&project))
        .bind(branch)
        .fetch_optional(connection)
        .await?;
    row.map(|row| codec::get(&row, "manifest")).transpose()
}

fn unknown(branch: &str) -> StoreError {
    StoreError::Missing {
        what: "branch",
        name: branch.to_owned(),
    }
}
