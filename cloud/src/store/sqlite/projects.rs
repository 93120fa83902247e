use std::collections::HashMap;

use iottly_protocol::{DeviceId, GroupId, ProjectId};
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{Connection, SqliteConnection};

use super::{codec, taken};
use crate::model::{Definition, Group, ORPHANED, Principal, Project, SecretHash};
use crate::store::Result;

pub(super) async fn create(
    connection: &mut SqliteConnection,
    project: &Project,
    orphaned: GroupId,
    definitions: &[Definition],
) -> Result<()> {
    let mut tx = connection.begin().await?;
    sqlx::query("INSERT INTO projects (id, name) VALUES ($1, $2)")
        .bind(&project.id.as_bytes()[..])
        .bind(&project.name)
        .execute(&mut *tx)
        .await
        .map_err(|error| taken(error, "project", &project.id.to_string()))?;
    create_group(&mut tx, project.id, orphaned, ORPHANED, "").await?;
    for definition in definitions {
        let body = serde_json::to_string(definition).expect("a definition has string keys and serializes without failing");
        sqlx::query("INSERT INTO definitions (project, cmd_type, body) VALUES ($1, $2, $3)")
            .bind(&project.id.as_bytes()[..])
            .bind(&definition.cmd_type)
            .bind(body)
            .execute(&mut *tx)
            .await
            .map_err(|error| taken(error, "message definition", &definition.cmd_type))?;
    }
    Ok(tx.commit().await?)
}

pub(super) async fn all(pool: &SqlitePool) -> Result<Vec<Project>> {
    let rows = sqlx::query("SELECT id, name FROM projects ORDER BY name, id").fetch_all(pool).await?;
    rows.iter().map(project).collect()
}

pub(super) async fn one(pool: &SqlitePool, id: ProjectId) -> Result<Option<Project>> {
    let query = sqlx::query("SELECT id, name FROM projects WHERE id = $1").bind(&id.as_bytes()[..]);
    query.fetch_optional(pool).await?.as_ref().map(project).transpose()
}

fn project(row: &SqliteRow) -> Result<Project> {
    Ok(Project { id: codec::project(row, "projects", "id")?, name: codec::get(row, "name")? })
}

pub(super) async fn create_group(
    connection: &mut SqliteConnection,
    project: ProjectId,
    id: GroupId,
    name: &str,
    branch: &str,
) -> Result<()> {
    sqlx::query("INSERT INTO groups (project, id, name, branch) VALUES ($1, $2, $3, $4)")
        .bind(&project.as_bytes()[..])
        .bind(&id.as_bytes()[..])
        .bind(name)
        .bind(branch)
        .execute(connection)
        .await
        .map_err(|error| taken(error, "deployment group", name))?;
    Ok(())
}

pub(super) async fn groups(pool: &SqlitePool, project: ProjectId) -> Result<Vec<Group>> {
    let mut tx = pool.begin().await?;
    let members = sqlx::query("SELECT group_id, id FROM devices WHERE project = $1 ORDER BY id")
        .bind(&project.as_bytes()[..])
        .fetch_all(&mut *tx)
        .await?;
    let mut boards: HashMap<GroupId, Vec<DeviceId>> = HashMap::new();
    for row in &members {
        let device = DeviceId::from_bytes(codec::bytes(row, "devices", "id")?);
        boards.entry(codec::group(row, "devices", "group_id")?).or_default().push(device);
    }
    let rows = sqlx::query("SELECT id, name, branch, status, revision FROM groups WHERE project = $1 ORDER BY name <> $2, name")
        .bind(&project.as_bytes()[..])
        .bind(ORPHANED)
        .fetch_all(&mut *tx)
        .await?;
    let group = |row: &SqliteRow| {
        let id = codec::group(row, "groups", "id")?;
        Ok(Group {
            id,
            name: codec::get(row, "name")?,
            branch: codec::get(row, "branch")?,
            status: codec::get(row, "status")?,
            current_revision: codec::get(row, "revision")?,
            boards: boards.remove(&id).unwrap_or_default(),
        })
    };
    rows.iter().map(group).collect()
}

pub(super) async fn create_token(connection: &mut SqliteConnection, hash: SecretHash, principal: &Principal) -> Result<()> {
    sqlx::query("INSERT INTO tokens (hash, project, name) VALUES ($1, $2, $3)")
        .bind(&hash.0[..])
        .bind(&principal.project.as_bytes()[..])
        .bind(&principal.name)
        .execute(connection)
        .await
        .map_err(|error| taken(error, "token", &principal.name))?;
    Ok(())
}

pub(super) async fn principal(pool: &SqlitePool, hash: SecretHash) -> Result<Option<Principal>> {
    let query = sqlx::query("SELECT project, name FROM tokens WHERE hash = $1").bind(&hash.0[..]);
    let Some(row) = query.fetch_optional(pool).await? else { return Ok(None) };
    Ok(Some(Principal { project: codec::project(&row, "tokens", "project")?, name: codec::get(&row, "name")? }))
}

pub(super) async fn definitions(pool: &SqlitePool, project: ProjectId) -> Result<Vec<Definition>> {
    let query = sqlx::query("SELECT body FROM definitions WHERE project = $1 ORDER BY cmd_type").bind(&project.as_bytes()[..]);
    query.fetch_all(pool).await?.iter().map(parse_definition).collect()
}

pub(super) async fn definition(pool: &SqlitePool, project: ProjectId, cmd_type: &str) -> Result<Option<Definition>> {
    let query = sqlx::query("SELECT body FROM definitions WHERE project = $1 AND cmd_type = $2")
        .bind(&project.as_bytes()[..])
        .bind(cmd_type);
    query.fetch_optional(pool).await?.as_ref().map(parse_definition).transpose()
}

fn parse_definition(row: &SqliteRow) -> Result<Definition> {
    codec::json(codec::get(row, "body")?, "definitions", "body")
}
