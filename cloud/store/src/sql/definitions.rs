//! Message definitions, and the handlers that follow them.

use iottly_protocol::ProjectId;

use super::db::{Conn, Pool, Row};
use super::{branches, codec, full, missing, taken, usage};
use crate::{Result, StoreError};
use iottly_core::code::HandlerChange;
use iottly_core::model::{Definition, MAX_DEFINITIONS, UnixMs};

const ALL: &str = "SELECT body FROM definitions WHERE project = $1 ORDER BY cmd_type";
const ONE: &str = "SELECT body FROM definitions WHERE project = $1 AND cmd_type = $2";

pub(super) async fn insert(connection: &mut Conn, project: ProjectId, definition: &Definition) -> Result<()> {
    sqlx::query("INSERT INTO definitions (project, cmd_type, body) VALUES ($1, $2, $3)")
        .bind(codec::id(&project))
        .bind(&definition.cmd_type)
        .bind(text(definition))
        .execute(connection)
        .await
        .map_err(|error| taken(error, "message definition", &definition.cmd_type))?;
    Ok(())
}

pub(super) async fn create(
    tx: &mut Conn,
    project: ProjectId,
    definition: &Definition,
    now: UnixMs,
) -> Result<u64> {
    let row = sqlx::query("SELECT count(*) AS n FROM definitions WHERE project = $1")
        .bind(codec::id(&project))
        .fetch_one(&mut *tx)
        .await?;
    let limits = usage::within(tx, project).await?;
    full(
        codec::get(&row, "n")?,
        "message definitions",
        usage::most(limits.definitions, MAX_DEFINITIONS as i64),
    )?;
    insert(tx, project, definition).await?;
    follow(tx, project, &definition.cmd_type, None, Some(definition), now).await?;
    Ok(1)
}

pub(super) async fn update(
    tx: &mut Conn,
    project: ProjectId,
    definition: &Definition,
    now: UnixMs,
) -> Result<u64> {
    let old = existing(tx, project, &definition.cmd_type).await?;
    if old == *definition {
        return Ok(0);
    }
    sqlx::query("UPDATE definitions SET body = $3 WHERE project = $1 AND cmd_type = $2")
        .bind(codec::id(&project))
        .bind(&definition.cmd_type)
        .bind(text(definition))
        .execute(&mut *tx)
        .await?;
    follow(
        tx,
        project,
        &definition.cmd_type,
        Some(&old),
        Some(definition),
        now,
    )
    .await?;
    Ok(1)
}

pub(super) async fn delete(tx: &mut Conn, project: ProjectId, cmd_type: &str, now: UnixMs) -> Result<u64> {
    let old = existing(tx, project, cmd_type).await?;
    let done = sqlx::query("DELETE FROM definitions WHERE project = $1 AND cmd_type = $2")
        .bind(codec::id(&project))
        .bind(cmd_type)
        .execute(&mut *tx)
        .await?;
    follow(tx, project, cmd_type, Some(&old), None, now).await?;
    missing(done.rows_affected(), "message definition", &cmd_type)
}

/// Adapts the handlers of every branch to a change of a definition.
async fn follow(
    tx: &mut Conn,
    project: ProjectId,
    cmd_type: &str,
    old: Option<&Definition>,
    new: Option<&Definition>,
    now: UnixMs,
) -> Result<()> {
    match HandlerChange::between(old, new) {
        Some(change) => branches::adapt_all(tx, project, cmd_type, change, now).await,
        None => Ok(()),
    }
}

async fn existing(tx: &mut Conn, project: ProjectId, cmd_type: &str) -> Result<Definition> {
    let row = sqlx::query(ONE)
        .bind(codec::id(&project))
        .bind(cmd_type)
        .fetch_optional(tx)
        .await?;
    let row = row.ok_or_else(|| StoreError::Missing {
        what: "message definition",
        name: cmd_type.to_owned(),
    })?;
    parse(&row)
}

/// Returns the definitions as the transaction sees them.
pub(super) async fn within(tx: &mut Conn, project: ProjectId) -> Result<Vec<Definition>> {
    sqlx::query(ALL)
        .bind(codec::id(&project))
        .fetch_all(tx)
        .await?
        .iter()
        .map(parse)
        .collect()
}

pub(super) async fn all(pool: &Pool, project: ProjectId) -> Result<Vec<Definition>> {
    sqlx::query(ALL)
        .bind(codec::id(&project))
        .fetch_all(pool)
        .await?
        .iter()
        .map(parse)
        .collect()
}

pub(super) async fn one(pool: &Pool, project: ProjectId, cmd_type: &str) -> Result<Option<Definition>> {
    let query = sqlx::query(ONE).bind(codec::id(&project)).bind(cmd_type);
    query.fetch_optional(pool).await?.as_ref().map(parse).transpose()
}

fn text(definition: &Definition) -> String {
    serde_json::to_string(definition).expect("a definition has string keys and serializes without failing")
}

fn parse(row: &Row) -> Result<Definition> {
    codec::json(codec::get(row, "body")?, "definitions", "body")
}
