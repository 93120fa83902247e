//! Drafts of code.

use async_trait::async_trait;
use iottly_protocol::ProjectId;

use super::db::{self, Conn, Row};
use super::{Backend, branches, codec, full};
use crate::{DraftStore, Result};
use iottly_core::model::{Actor, DRAFT_KEPT_MS, Draft, MAX_DRAFTS, MAX_PROJECT_DRAFT_BYTES};

#[async_trait]
impl DraftStore for Backend {
    async fn drafts(&self, project: ProjectId, branch: &str, author: Actor) -> Result<Vec<Draft>> {
        let rows = sqlx::query(
            "SELECT file, base, base_text, text, changed FROM code_drafts \
             WHERE project = $1 AND branch = $2 AND author = $3 ORDER BY file",
        )
        .bind(codec::id(&project))
        .bind(branch)
        .bind(&author.id()[..])
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(draft).collect()
    }

    async fn draft(
        &self,
        project: ProjectId,
        branch: &str,
        author: Actor,
        file: &str,
    ) -> Result<Option<Draft>> {
        let row = sqlx::query(
            "SELECT file, base, base_text, text, changed FROM code_drafts \
             WHERE project = $1 AND branch = $2 AND author = $3 AND file = $4",
        )
        .bind(codec::id(&project))
        .bind(branch)
        .bind(&author.id()[..])
        .bind(file)
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(draft).transpose()
    }

    async fn keep_draft(&self, project: ProjectId, branch: &str, author: Actor, draft: &Draft) -> Result<()> {
        let mut writer = self.write().await?;
        let mut tx = db::begin(&mut writer).await?;
        branches::must_exist(&mut tx, project, branch).await?;
        sqlx::query("DELETE FROM code_drafts WHERE project = $1 AND changed < $2")
            .bind(codec::id(&project))
            .bind(draft.changed.saturating_sub(DRAFT_KEPT_MS))
            .execute(&mut *tx)
            .await?;
        delete(&mut tx, project, branch, author, &draft.file).await?;
        admit(&mut tx, project, author, draft).await?;
        sqlx::query(
            "INSERT INTO code_drafts (project, branch, author, file, base, base_text, text, changed) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(codec::id(&project))
        .bind(branch)
        .bind(&author.id()[..])
        .bind(&draft.file)
        .bind(&draft.base)
        .bind(&draft.base_text)
        .bind(&draft.text)
        .bind(draft.changed)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    async fn drop_draft(&self, project: ProjectId, branch: &str, author: Actor, file: &str) -> Result<bool> {
        let mut writer = self.write().await?;
        let mut tx = db::begin(&mut writer).await?;
        let deleted = delete(&mut tx, project, branch, author, file).await?;
        tx.commit().await?;
        Ok(deleted > 0)
    }
}

async fn delete(tx: &mut Conn, project: ProjectId, branch: &str, author: Actor, file: &str) -> Result<u64> {
    let done = sqlx::query(
        "DELETE FROM code_drafts WHERE project = $1 AND branch = $2 AND author = $3 AND file = $4",
    )
    .bind(codec::id(&project))
    .bind(branch)
    .bind(&author.id()[..])
    .bind(file)
    .execute(tx)
    .await?;
    Ok(done.rows_affected())
}

/// Refuses a further draft of an author or of a project that has reached its limit.
async fn admit(tx: &mut Conn, project: ProjectId, author: Actor, draft: &Draft) -> Result<()> {
    let row = sqlx::query("SELECT count(*) AS n FROM code_drafts WHERE project = $1 AND author = $2")
        .bind(codec::id(&project))
        .bind(&author.id()[..])
        .fetch_one(&mut *tx)
        .await?;
    full(
        codec::get(&row, "n")?,
        "drafts of one author in the project",
        MAX_DRAFTS,
    )?;
    let row = sqlx::query(
        "SELECT CAST(coalesce(sum(octet_length(text) + coalesce(octet_length(base_text), 0)), 0) AS BIGINT) AS bytes \
         FROM code_drafts WHERE project = $1",
    )
    .bind(codec::id(&project))
    .fetch_one(tx)
    .await?;
    let more = draft.text.len() + draft.base_text.as_ref().map_or(0, String::len);
    let all = codec::get::<i64>(&row, "bytes")?.saturating_add(i64::try_from(more).unwrap_or(i64::MAX));
    full(all - 1, "bytes of drafts in the project", MAX_PROJECT_DRAFT_BYTES)
}

fn draft(row: &Row) -> Result<Draft> {
    Ok(Draft {
        file: codec::get(row, "file")?,
        base: codec::get(row, "base")?,
        base_text: codec::get(row, "base_text")?,
        text: codec::get(row, "text")?,
        changed: codec::get(row, "changed")?,
    })
}
