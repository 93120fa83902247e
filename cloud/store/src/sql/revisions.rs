//! Revisions of branches: saved code and uploaded components, and their limit.

use iottly_protocol::ProjectId;

use super::db::Conn;
use super::{branches, code_usage, codec, definitions, full};
use crate::{Result, StoreError};
use iottly_core::code;
use iottly_core::model::{BranchCode, Changed, SnippetId, UnixMs};

/// Maximum number of revisions per branch; above, saving is refused until another branch is used.
const MAX_REVISIONS: i64 = 10_000;

/// Saves the working copy as the next revision, unless it equals the newest one.
pub(super) async fn save_version(
    tx: &mut Conn,
    project: ProjectId,
    branch: &str,
    message: &str,
    author: &str,
    now: UnixMs,
) -> Result<Changed> {
    let content = branches::within(tx, project, branch).await?;
    let digest = code::digest(&content);
    let row = sqlx::query(
        "SELECT n, digest FROM revisions WHERE project = $1 AND branch = $2 ORDER BY n DESC LIMIT 1",
    )
    .bind(codec::id(&project))
    .bind(branch)
    .fetch_optional(&mut *tx)
    .await?;
    let head = row.as_ref().map_or(Ok(0), |row| codec::get::<i64>(row, "n"))?;
    if row
        .as_ref()
        .map(|row| codec::get::<&str>(row, "digest"))
        .transpose()?
        == Some(digest.as_str())
    {
        return Ok(Changed {
            affected: 0,
            revision: Some(head.unsigned_abs()),
        });
    }
    full(head, "revisions of a branch", MAX_REVISIONS)?;
    let body = serde_json::to_string(&content.snippets)
        .expect("snippets have string keys and serialize without failing");
    let manifest = content.manifest.as_deref();
    let bytes = body.len() + message.len() + manifest.map_or(0, str::len);
    count_revision(tx, project, bytes).await?;
    sqlx::query(
        "INSERT INTO revisions (project, branch, n, message, author, created, digest, body, manifest) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(codec::id(&project))
    .bind(branch)
    .bind(head + 1)
    .bind(message)
    .bind(author)
    .bind(now)
    .bind(digest)
    .bind(body)
    .bind(manifest)
    .execute(tx)
    .await?;
    Ok(Changed {
        affected: 1,
        revision: Some(head.unsigned_abs() + 1),
    })
}

/// Checks that the project has room for a revision of so many bytes, and adds it to the count.
async fn count_revision(tx: &mut Conn, project: ProjectId, bytes: usize) -> Result<()> {
    let bytes = i64::try_from(bytes + code_usage::REVISION_BYTES).unwrap_or(i64::MAX);
    code_usage::admit(tx, project, bytes).await?;
    code_usage::add(tx, project, bytes).await
}

/// Saves a component as the next revision, unless it equals the newest one.
pub(super) async fn save_component(
    tx: &mut Conn,
    project: ProjectId,
    branch: &str,
    message: &str,
    (sha256, manifest): (&str, Option<&str>),
    (author, now): (&str, UnixMs),
) -> Result<Changed> {
    branches::must_exist(tx, project, branch).await?;
    let row = sqlx::query(
        "SELECT n, component FROM revisions WHERE project = $1 AND branch = $2 ORDER BY n DESC LIMIT 1",
    )
    .bind(codec::id(&project))
    .bind(branch)
    .fetch_optional(&mut *tx)
    .await?;
    let head = row.as_ref().map_or(Ok(0), |row| codec::get::<i64>(row, "n"))?;
    let newest = row
        .as_ref()
        .map(|row| codec::get::<Option<&str>>(row, "component"))
        .transpose()?
        .flatten();
    if newest == Some(sha256) {
        return Ok(Changed {
            affected: 0,
            revision: Some(head.unsigned_abs()),
        });
    }
    full(head, "revisions of a branch", MAX_REVISIONS)?;
    let bytes = "[]".len() + message.len() + manifest.map_or(0, str::len);
    count_revision(tx, project, bytes).await?;
    sqlx::query(
        "INSERT INTO revisions (project, branch, n, message, author, created, digest, body, component, manifest) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, '[]', $7, $8)",
    )
    .bind(codec::id(&project))
    .bind(branch)
    .bind(head + 1)
    .bind(message)
    .bind(author)
    .bind(now)
    .bind(sha256)
    .bind(manifest)
    .execute(tx)
    .await?;
    Ok(Changed {
        affected: 1,
        revision: Some(head.unsigned_abs() + 1),
    })
}

/// Replaces the working copy by a revision.
pub(super) async fn restore(
    tx: &mut Conn,
    project: ProjectId,
    branch: &str,
    number: u64,
    now: UnixMs,
) -> Result<u64> {
    let old = branches::within(tx, project, branch).await?;
    let row = sqlx::query(
        "SELECT body, manifest, component FROM revisions WHERE project = $1 AND branch = $2 AND n = $3",
    )
    .bind(codec::id(&project))
    .bind(branch)
    .bind(codec::signed(number))
    .fetch_optional(&mut *tx)
    .await?;
    let row = row.ok_or_else(|| StoreError::Missing {
        what: "revision",
        name: number.to_string(),
    })?;
    if codec::get::<Option<&str>>(&row, "component")?.is_some() {
        return Err(StoreError::Refused(format!(
            "revision {number} is an uploaded component: it has no code to restore"
        )));
    }
    let mut new = BranchCode {
        snippets: codec::json(codec::get(&row, "body")?, "revisions", "body")?,
        manifest: codec::get(&row, "manifest")?,
    };
    code::complete(
        &mut new.snippets,
        &definitions::within(tx, project).await?,
        SnippetId::random,
    );
    if code::digest(&old) == code::digest(&new) {
        return Ok(0);
    }
    let (before, after) = (old.manifest.as_deref(), new.manifest.as_deref());
    let more = code_usage::weight(&new.snippets) - code_usage::weight(&old.snippets)
        + code_usage::manifest_weight(after)
        - code_usage::manifest_weight(before);
    code_usage::admit(tx, project, more).await?;
    branches::write(tx, project, branch, &old.snippets, &new.snippets, now).await?;
    branches::put_manifest(tx, project, branch, before, after, now).await?;
    Ok(1)
}
