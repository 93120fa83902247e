//! Projects.

use iottly_protocol::{GroupId, ProjectId};

use super::db::{self, Conn, Pool, Row};
use super::{branches, codec, definitions, groups, taken};
use crate::Result;
use iottly_core::model::{Definition, MAIN_BRANCH, ORPHANED, Project};

pub(super) async fn create(
    connection: &mut Conn,
    project: &Project,
    orphaned: GroupId,
    seeded: &[Definition],
) -> Result<()> {
    let mut tx = db::begin(connection).await?;
    sqlx::query("INSERT INTO projects (id, name, created, retention_days) VALUES ($1, $2, $3, $4)")
        .bind(&project.id.as_bytes()[..])
        .bind(&project.name)
        .bind(project.created)
        .bind(project.retention_days.map(i64::from))
        .execute(&mut *tx)
        .await
        .map_err(|error| taken(error, "project", &project.id.to_string()))?;
    groups::create(&mut tx, project.id, orphaned, ORPHANED, "").await?;
    for definition in seeded {
        definitions::insert(&mut tx, project.id, definition).await?;
    }
    branches::seed(&mut tx, project.id, MAIN_BRANCH, seeded, project.created).await?;
    Ok(tx.commit().await?)
}

pub(super) async fn all(pool: &Pool) -> Result<Vec<Project>> {
    let rows = sqlx::query("SELECT id, name, created, retention_days FROM projects ORDER BY name, id")
        .fetch_all(pool)
        .await?;
    rows.iter().map(project).collect()
}

pub(super) async fn one(pool: &Pool, id: ProjectId) -> Result<Option<Project>> {
    let query = sqlx::query("SELECT id, name, created, retention_days FROM projects WHERE id = $1")
        .bind(&id.as_bytes()[..]);
    query
        .fetch_optional(pool)
        .await?
        .as_ref()
        .map(project)
        .transpose()
}

fn project(row: &Row) -> Result<Project> {
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
            .bind(&id.as_bytes()[..])
            .bind(days.map(i64::from))
            .execute(tx)
            .await?;
    Ok(done.rows_affected())
}

pub(super) async fn rename(tx: &mut Conn, id: ProjectId, name: &str) -> Result<u64> {
    let done = sqlx::query("UPDATE projects SET name = $2 WHERE id = $1 AND name <> $2")
        .bind(&id.as_bytes()[..])
        .bind(name)
        .execute(tx)
        .await?;
    Ok(done.rows_affected())
}

/// Ends all logins of a project.
pub(super) async fn end_logins(tx: &mut Conn, id: ProjectId) -> Result<u64> {
    let query = sqlx::query("UPDATE projects SET logins = logins + 1 WHERE id = $1").bind(&id.as_bytes()[..]);
    Ok(query.execute(tx).await?.rows_affected())
}
