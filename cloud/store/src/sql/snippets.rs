//! Snippets of working copies.

use iottly_protocol::ProjectId;

use super::db::{Conn, Row};
use super::{code_usage, codec};
use crate::Result;
use iottly_core::model::{Snippet, SnippetId, SnippetKind};

const ALL: &str = "SELECT id, kind, name, description, code FROM snippets WHERE project = $1 AND branch = $2 ORDER BY kind, name, id";

/// Writes the snippets of a working copy: inserts new and changed snippets, deletes missing ones, and counts the bytes.
pub(super) async fn replace(
    tx: &mut Conn,
    project: ProjectId,
    branch: &str,
    old: &[Snippet],
    new: &[Snippet],
) -> Result<()> {
    // Delete removed and changed snippets first, so that a name can move from one snippet to another.
    for snippet in old.iter().filter(|snippet| !new.contains(snippet)) {
        sqlx::query("DELETE FROM snippets WHERE project = $1 AND branch = $2 AND id = $3")
            .bind(codec::id(&project))
            .bind(branch)
            .bind(codec::id(&snippet.id))
            .execute(&mut *tx)
            .await?;
    }
    for snippet in new.iter().filter(|snippet| !old.contains(snippet)) {
        sqlx::query(
            "INSERT INTO snippets (project, branch, id, kind, name, description, code) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(codec::id(&project))
        .bind(branch)
        .bind(codec::id(&snippet.id))
        .bind(codec::snippet_kind_code(snippet.kind))
        .bind(&snippet.name)
        .bind(&snippet.description)
        .bind(&snippet.code)
        .execute(&mut *tx)
        .await?;
    }
    code_usage::add(tx, project, code_usage::weight(new) - code_usage::weight(old)).await
}

pub(super) async fn within(tx: &mut Conn, project: ProjectId, branch: &str) -> Result<Vec<Snippet>> {
    sqlx::query(ALL)
        .bind(codec::id(&project))
        .bind(branch)
        .fetch_all(tx)
        .await?
        .iter()
        .map(snippet)
        .collect()
}

/// Returns the handlers of a branch for adapting them to a change of this command; handlers of other commands
/// come without their texts.
pub(super) async fn handlers(
    tx: &mut Conn,
    project: ProjectId,
    branch: &str,
    cmd_type: &str,
) -> Result<Vec<Snippet>> {
    let rows = sqlx::query(
        "SELECT id, kind, name, CASE WHEN name = $3 THEN description ELSE '' END AS description, \
         CASE WHEN name = $3 THEN code ELSE '' END AS code FROM snippets WHERE project = $1 AND branch = $2 AND kind = $4 \
         ORDER BY kind, name, id",
    )
    .bind(codec::id(&project))
    .bind(branch)
    .bind(cmd_type)
    .bind(codec::snippet_kind_code(SnippetKind::Handler))
    .fetch_all(tx)
    .await?;
    rows.iter().map(snippet).collect()
}

/// Returns the number of a branch's snippets and their bytes of code.
pub(super) async fn size(tx: &mut Conn, project: ProjectId, branch: &str) -> Result<(i64, i64)> {
    let row = sqlx::query(
        "SELECT count(*) AS n, CAST(coalesce(sum(octet_length(code)), 0) AS BIGINT) AS bytes \
         FROM snippets WHERE project = $1 AND branch = $2",
    )
    .bind(codec::id(&project))
    .bind(branch)
    .fetch_one(tx)
    .await?;
    Ok((codec::get(&row, "n")?, codec::get(&row, "bytes")?))
}

fn snippet(row: &Row) -> Result<Snippet> {
    Ok(Snippet {
        id: SnippetId::from_bytes(codec::bytes(row, "snippets", "id")?),
        kind: codec::snippet_kind(codec::get(row, "kind")?)?,
        name: codec::get(row, "name")?,
        description: codec::get(row, "description")?,
        code: codec::get(row, "code")?,
    })
}
