//! Bytes of code, components and releases that a project holds, counted in the transaction of every change.

use iottly_protocol::ProjectId;

use super::codec;
use super::db::{Conn, Pool, Row};
use crate::{Result, StoreError};
use iottly_core::model::{CodeRoom, MAX_PROJECT_CODE_BYTES, Snippet};

/// Overhead that a revision counts in addition to its texts, in bytes. The same as in the migration that
/// introduced the count and in [`REVISIONS`].
pub(super) const REVISION_BYTES: usize = 200;
/// Overhead that a snippet counts in addition to its texts, in bytes. The same as in the migration that
/// introduced the count and in [`SNIPPETS`].
const SNIPPET_BYTES: usize = 100;

const ROOM: &str = "SELECT code_bytes, file_bytes, max_code_bytes FROM projects WHERE id = $1";
/// Sums up the revisions of a branch.
const REVISIONS: &str = "SELECT CAST(coalesce(sum(octet_length(body) + octet_length(message) \
                         + coalesce(octet_length(manifest), 0) + 200), 0) AS BIGINT) AS bytes FROM revisions WHERE project = $1 AND branch = $2";
/// Sums up the snippets of a branch.
const SNIPPETS: &str = "SELECT CAST(coalesce(sum(octet_length(code) + octet_length(description) + 100), 0) AS BIGINT) AS bytes \
                        FROM snippets WHERE project = $1 AND branch = $2";

/// Size of the manifest of a branch's working copy.
const MANIFEST: &str = "SELECT CAST(coalesce(sum(octet_length(manifest)), 0) AS BIGINT) AS bytes \
                        FROM branches WHERE project = $1 AND name = $2";

/// Returns the counted size of the snippets of a working copy, in bytes.
pub(super) fn weight<'a>(snippets: impl IntoIterator<Item = &'a Snippet>) -> i64 {
    let bytes: usize = snippets
        .into_iter()
        .map(|one| one.code.len() + one.description.len() + SNIPPET_BYTES)
        .sum();
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Returns the counted size of a manifest, in bytes.
pub(super) fn manifest_weight(manifest: Option<&str>) -> i64 {
    i64::try_from(manifest.map_or(0, str::len)).unwrap_or(i64::MAX)
}

/// Adds to the project's count.
pub(super) async fn add(tx: &mut Conn, project: ProjectId, bytes: i64) -> Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    sqlx::query("UPDATE projects SET code_bytes = CASE WHEN code_bytes + $2 < 0 THEN 0 ELSE code_bytes + $2 END WHERE id = $1")
        .bind(codec::id(&project))
        .bind(bytes)
        .execute(tx)
        .await?;
    Ok(())
}

/// Subtracts a branch, which is about to be deleted, from the project's count.
pub(super) async fn remove_branch(tx: &mut Conn, project: ProjectId, branch: &str) -> Result<()> {
    for sql in [REVISIONS, SNIPPETS, MANIFEST] {
        let row = sqlx::query(sql)
            .bind(codec::id(&project))
            .bind(branch)
            .fetch_one(&mut *tx)
            .await?;
        add(tx, project, -codec::get::<i64>(&row, "bytes")?).await?;
    }
    Ok(())
}

/// Refuses `more` bytes if the project has no room for them.
pub(super) async fn admit(tx: &mut Conn, project: ProjectId, more: i64) -> Result<()> {
    if more <= 0 {
        return Ok(());
    }
    let row = sqlx::query(ROOM)
        .bind(codec::id(&project))
        .fetch_optional(tx)
        .await?;
    let Some(room) = row.as_ref().map(read).transpose()? else {
        return Ok(());
    };
    let more = u64::try_from(more).unwrap_or(0);
    if room.used().saturating_add(more) > room.limit() {
        return Err(StoreError::Full {
            what: CodeRoom::WHAT,
            max: codec::signed(room.limit()),
        });
    }
    Ok(())
}

/// Returns what the project holds and may hold; none if the project does not exist.
pub(super) async fn room(pool: &Pool, project: ProjectId) -> Result<Option<CodeRoom>> {
    sqlx::query(ROOM)
        .bind(codec::id(&project))
        .fetch_optional(pool)
        .await?
        .as_ref()
        .map(read)
        .transpose()
}

fn read(row: &Row) -> Result<CodeRoom> {
    let number = |field| codec::unsigned(codec::get(row, field)?, "projects", field);
    let own: Option<i64> = codec::get(row, "max_code_bytes")?;
    Ok(CodeRoom {
        code: number("code_bytes")?,
        files: number("file_bytes")?,
        own: own
            .map(|own| codec::unsigned(own, "projects", "max_code_bytes"))
            .transpose()?,
    })
}

/// Sets the project's limit for code, components and releases, in bytes; none for [`MAX_PROJECT_CODE_BYTES`].
pub(super) async fn set_limit(tx: &mut Conn, project: ProjectId, limit: Option<u64>) -> Result<u64> {
    let done = sqlx::query(
        "UPDATE projects SET max_code_bytes = $2 WHERE id = $1 AND coalesce(max_code_bytes, -1) <> $3",
    )
    .bind(codec::id(&project))
    .bind(limit.map(codec::signed))
    .bind(limit.map_or(-1, codec::signed))
    .execute(tx)
    .await?;
    Ok(done.rows_affected())
}

const _: () = assert!(
    MAX_PROJECT_CODE_BYTES < i64::MAX as u64,
    "the column is a signed number"
);
