use iottly_protocol::ProjectId;

use super::codec;
use super::db::{Conn, Pool, Row};
use crate::model::{Snippet, SnippetId};
use crate::store::Result;

const ALL: &str =
    "SELECT id, kind, name, description, code FROM snippets WHERE project = $1 AND branch = $2 ORDER BY kind, name, id";

/// Writes a working copy: what is new or different, and removes what is gone.
pub(super) async fn replace(tx: &mut Conn, project: ProjectId, branch: &str, old: &[Snippet], new: &[Snippet]) -> Result<()> {
    // What goes or changes is removed first, so that names can pass from one snippet to another.
    for snippet in old.iter().filter(|snippet| !new.contains(snippet)) {
        sqlx::query("DELETE FROM snippets WHERE project = $1 AND branch = $2 AND id = $3")
            .bind(&project.as_bytes()[..])
            .bind(branch)
            .bind(&snippet.id.as_bytes()[..])
            .execute(&mut *tx)
            .await?;
    }
    for snippet in new.iter().filter(|snippet| !old.contains(snippet)) {
        sqlx::query(
            "INSERT INTO snippets (project, branch, id, kind, name, description, code) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(&project.as_bytes()[..])
        .bind(branch)
        .bind(&snippet.id.as_bytes()[..])
        .bind(codec::snippet_kind_code(snippet.kind))
        .bind(&snippet.name)
        .bind(&snippet.description)
        .bind(&snippet.code)
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

pub(super) async fn within(tx: &mut Conn, project: ProjectId, branch: &str) -> Result<Vec<Snippet>> {
    sqlx::query(ALL).bind(&project.as_bytes()[..]).bind(branch).fetch_all(tx).await?.iter().map(snippet).collect()
}

/// The working copy of a branch; none when there is no such branch.
pub(super) async fn all(pool: &Pool, project: ProjectId, branch: &str) -> Result<Option<Vec<Snippet>>> {
    let rows = sqlx::query(ALL).bind(&project.as_bytes()[..]).bind(branch).fetch_all(pool).await?;
    // Every branch has its three sections, so none at all means no branch.
    if rows.is_empty() { Ok(None) } else { rows.iter().map(snippet).collect::<Result<_>>().map(Some) }
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
