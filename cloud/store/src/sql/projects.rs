//! Projects.

use async_trait::async_trait;
use iottly_protocol::{GroupId, ProjectId};

use super::db::{self, Conn, Row};
use super::{Backend, branches, codec, groups, people_change, taken};
use crate::write_turns::Lane;
use crate::{ProjectStore, Result};
use iottly_core::model::{Definition, Group, MAIN_BRANCH, ORPHANED, OrganizationId, Project};

#[async_trait]
impl ProjectStore for Backend {
    async fn create_project_in(
        &self,
        organization: OrganizationId,
        project: &Project,
        orphaned: GroupId,
        definitions: &[Definition],
    ) -> Result<()> {
        let _turn = self.turns.take(Lane::Organization(organization)).await;
        let mut writer = self.write().await?;
        let mut tx = db::begin(&mut writer).await?;
        people_change::exists(&mut tx, organization).await?;
        sqlx::query(
            "INSERT INTO projects (id, name, created, retention_days, organization, public_releases) VALUES ($1, $2, $3, $4, $5, false)",
        )
            .bind(codec::id(&project.id))
            .bind(&project.name)
            .bind(project.created)
            .bind(project.retention_days.map(i64::from))
            .bind(codec::id(&organization))
            .execute(&mut *tx)
            .await
            .map_err(|error| taken(error, "project", &project.id.to_string()))?;
        groups::create(&mut tx, project.id, orphaned, ORPHANED, None).await?;
        for definition in definitions {
            super::definitions::insert(&mut tx, project.id, definition).await?;
        }
        branches::seed(&mut tx, project.id, MAIN_BRANCH, definitions, project.created).await?;
        Ok(tx.commit().await?)
    }

    async fn projects(&self) -> Result<Vec<Project>> {
        let rows = sqlx::query("SELECT id, name, created, retention_days FROM projects ORDER BY name, id")
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(project).collect()
    }

    async fn project(&self, id: ProjectId) -> Result<Option<Project>> {
        let query = sqlx::query("SELECT id, name, created, retention_days FROM projects WHERE id = $1")
            .bind(codec::id(&id));
        query
            .fetch_optional(&self.readers)
            .await?
            .as_ref()
            .map(project)
            .transpose()
    }

    async fn public_releases(&self, id: ProjectId) -> Result<Option<bool>> {
        let query = sqlx::query("SELECT public_releases FROM projects WHERE id = $1").bind(codec::id(&id));
        let row = query.fetch_optional(&self.readers).await?;
        row.map(|row| codec::get(&row, "public_releases")).transpose()
    }

    async fn create_group(
        &self,
        project: ProjectId,
        id: GroupId,
        name: &str,
        branch: Option<&str>,
    ) -> Result<()> {
        groups::create(&mut *self.write().await?, project, id, name, branch).await
    }

    async fn groups(&self, project: ProjectId) -> Result<Vec<Group>> {
        groups::all(&self.readers, project).await
    }

    async fn group(&self, project: ProjectId, id: GroupId) -> Result<Option<Group>> {
        groups::one(&self.readers, project, id).await
    }
}

pub(super) fn project(row: &Row) -> Result<Project> {
    let days: Option<i64> = codec::get(row, "retention_days")?;
    let days = days.map(|days| {
        u32::try_from(days).map_err(|_| codec::corrupt("projects", "retention_days", format!("{days} days")))
    });
    Ok(Project {
        id: codec::project(row, "projects", "id")?,
        name: codec::get(row, "name")?,
        created: codec::get(row, "created")?,
        retention_days: days.transpose()?,
    })
}

pub(super) async fn set_retention(tx: &mut Conn, id: ProjectId, days: Option<u32>) -> Result<u64> {
    let done =
        sqlx::query("UPDATE projects SET retention_days = $2 WHERE id = $1 AND coalesce(retention_days, 0) <> coalesce($2, 0)")
            .bind(codec::id(&id))
            .bind(days.map(i64::from))
            .execute(tx)
            .await?;
    Ok(done.rows_affected())
}

pub(super) async fn set_public_releases(tx: &mut Conn, id: ProjectId, public: bool) -> Result<u64> {
    let done =
        sqlx::query("UPDATE projects SET public_releases = $2 WHERE id = $1 AND public_releases <> $2")
            .bind(codec::id(&id))
            .bind(public)
            .execute(tx)
            .await?;
    Ok(done.rows_affected())
}

pub(super) async fn rename(tx: &mut Conn, id: ProjectId, name: &str) -> Result<u64> {
    let done = sqlx::query("UPDATE projects SET name = $2 WHERE id = $1 AND name <> $2")
        .bind(codec::id(&id))
        .bind(name)
        .execute(tx)
        .await?;
    Ok(done.rows_affected())
}

/// Ends all logins of a project.
pub(super) async fn end_logins(tx: &mut Conn, id: ProjectId) -> Result<u64> {
    let query = sqlx::query("UPDATE projects SET logins = logins + 1 WHERE id = $1").bind(codec::id(&id));
    Ok(query.execute(tx).await?.rows_affected())
}
