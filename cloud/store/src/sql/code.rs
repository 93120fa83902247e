//! Reading queries for code: definitions, branches, revisions, and the bytes that they use.

use async_trait::async_trait;
use iottly_protocol::ProjectId;

use super::db::{self, Row};
use super::{Backend, branches, code_usage, codec, definitions};
use crate::{CodeStore, Result};
use iottly_core::model::{Branch, BranchCode, CodeRoom, Definition, Revision};

#[async_trait]
impl CodeStore for Backend {
    async fn definitions(&self, project: ProjectId) -> Result<Vec<Definition>> {
        definitions::all(&self.readers, project).await
    }

    async fn definition(&self, project: ProjectId, cmd_type: &str) -> Result<Option<Definition>> {
        definitions::one(&self.readers, project, cmd_type).await
    }

    async fn branches(&self, project: ProjectId) -> Result<Vec<Branch>> {
        let rows = sqlx::query(
            "SELECT b.name, b.created, b.changed, coalesce(max(r.n), 0) AS head FROM branches b \
             LEFT JOIN revisions r ON r.project = b.project AND r.branch = b.name \
             WHERE b.project = $1 GROUP BY b.name, b.created, b.changed ORDER BY b.name",
        )
        .bind(codec::id(&project))
        .fetch_all(&self.readers)
        .await?;
        let branch = |row: &Row| {
            Ok(Branch {
                name: codec::get(row, "name")?,
                created: codec::get(row, "created")?,
                changed: codec::get(row, "changed")?,
                head: codec::unsigned(codec::get(row, "head")?, "revisions", "n")?,
            })
        };
        rows.iter().map(branch).collect()
    }

    async fn working_copy(&self, project: ProjectId, branch: &str) -> Result<Option<BranchCode>> {
        // One snapshot, so that manifest and snippets are of the same moment.
        let mut tx = db::snapshot(&self.readers).await?;
        branches::working_copy(&mut tx, project, branch).await
    }

    async fn revisions(
        &self,
        project: ProjectId,
        branch: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Revision>> {
        let rows = sqlx::query(
            "SELECT branch, n, message, author, created, digest, component FROM revisions WHERE project = $1 AND branch = $2 AND n < $3 \
             ORDER BY n DESC LIMIT $4",
        )
        .bind(codec::id(&project))
        .bind(branch)
        .bind(before.map_or(i64::MAX, codec::signed))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(revision).collect()
    }

    async fn revision(
        &self,
        project: ProjectId,
        branch: &str,
        number: u64,
    ) -> Result<Option<(Revision, BranchCode)>> {
        let row = sqlx::query(
            "SELECT branch, n, message, author, created, digest, component, body, manifest FROM revisions WHERE project = $1 AND branch = $2 AND n = $3",
        )
        .bind(codec::id(&project))
        .bind(branch)
        .bind(codec::signed(number))
        .fetch_optional(&self.readers)
        .await?;
        row.map(|row| {
            let code = BranchCode {
                snippets: codec::json(codec::get(&row, "body")?, "revisions", "body")?,
                manifest: codec::get(&row, "manifest")?,
            };
            Ok((revision(&row)?, code))
        })
        .transpose()
    }

    async fn code_room(&self, project: ProjectId) -> Result<Option<CodeRoom>> {
        code_usage::room(&self.readers, project).await
    }

    async fn note_files(&self, project: ProjectId, bytes: u64) -> Result<()> {
        let mut writer = self.write().await?;
        sqlx::query("UPDATE projects SET file_bytes = $2 WHERE id = $1 AND file_bytes <> $2")
            .bind(codec::id(&project))
            .bind(codec::signed(bytes))
            .execute(&mut *writer)
            .await?;
        Ok(())
    }

    async fn unnamed_components(&self, project: ProjectId, names: Vec<String>) -> Result<Vec<String>> {
        let mut unnamed = Vec::new();
        for name in names {
            let row = sqlx::query("SELECT n FROM revisions WHERE project = $1 AND component = $2 LIMIT 1")
                .bind(codec::id(&project))
                .bind(&name)
                .fetch_optional(&self.readers)
                .await?;
            if row.is_none() {
                unnamed.push(name);
            }
        }
        Ok(unnamed)
    }
}

fn revision(row: &Row) -> Result<Revision> {
    Ok(Revision {
        branch: codec::get(row, "branch")?,
        number: codec::unsigned(codec::get(row, "n")?, "revisions", "n")?,
        message: codec::get(row, "message")?,
        author: codec::get(row, "author")?,
        created: codec::get(row, "created")?,
        digest: codec::get(row, "digest")?,
        component: codec::get(row, "component")?,
    })
}
