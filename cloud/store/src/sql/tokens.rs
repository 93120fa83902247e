//! API tokens, by the hashes of their secrets.

use iottly_protocol::ProjectId;

use super::db::{Conn, Pool, Row};
use super::{codec, full, missing, taken};
use crate::Result;
use iottly_core::model::{Scopes, SecretHash, Token, TokenId, UnixMs};

/// Maximum number of tokens of a project.
const MAX_TOKENS: i64 = 100;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT project, id, name, prefix, scopes, created, expires, used, \
             (SELECT p.logins FROM projects p WHERE p.id = tokens.project) AS logins FROM tokens WHERE ",
            $rest
        )
    };
}

pub(super) async fn create(connection: &mut Conn, hash: SecretHash, token: &Token) -> Result<()> {
    sqlx::query(
        "INSERT INTO tokens (hash, project, id, name, prefix, scopes, created, expires) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(&hash.0[..])
    .bind(&token.project.as_bytes()[..])
    .bind(&token.id.as_bytes()[..])
    .bind(&token.name)
    .bind(&token.prefix)
    .bind(token.scopes.bits())
    .bind(token.created)
    .bind(token.expires)
    .execute(connection)
    .await
    .map_err(|error| taken(error, "token", &token.name))?;
    Ok(())
}

/// Adds a token, within the project's limit.
pub(super) async fn add(tx: &mut Conn, project: ProjectId, hash: SecretHash, token: &Token) -> Result<u64> {
    let row = sqlx::query("SELECT count(*) AS n FROM tokens WHERE project = $1")
        .bind(&project.as_bytes()[..])
        .fetch_one(&mut *tx)
        .await?;
    full(codec::get(&row, "n")?, "tokens", MAX_TOKENS)?;
    create(tx, hash, token).await?;
    Ok(1)
}

pub(super) async fn revoke(tx: &mut Conn, project: ProjectId, id: TokenId) -> Result<u64> {
    let done = sqlx::query("DELETE FROM tokens WHERE project = $1 AND id = $2")
        .bind(&project.as_bytes()[..])
        .bind(&id.as_bytes()[..])
        .execute(tx)
        .await?;
    missing(done.rows_affected(), "token", &id)
}

pub(super) async fn of_hash(pool: &Pool, hash: SecretHash) -> Result<Option<Token>> {
    sqlx::query(select!("hash = $1"))
        .bind(&hash.0[..])
        .fetch_optional(pool)
        .await?
        .as_ref()
        .map(token)
        .transpose()
}

pub(super) async fn of_id(pool: &Pool, project: ProjectId, id: TokenId) -> Result<Option<Token>> {
    let query = sqlx::query(select!("project = $1 AND id = $2"))
        .bind(&project.as_bytes()[..])
        .bind(&id.as_bytes()[..]);
    query.fetch_optional(pool).await?.as_ref().map(token).transpose()
}

pub(super) async fn all(pool: &Pool, project: ProjectId) -> Result<Vec<Token>> {
    let query = sqlx::query(select!("project = $1 ORDER BY created, id")).bind(&project.as_bytes()[..]);
    query.fetch_all(pool).await?.iter().map(token).collect()
}

pub(super) async fn touch(connection: &mut Conn, project: ProjectId, id: TokenId, now: UnixMs) -> Result<()> {
    sqlx::query("UPDATE tokens SET used = $3 WHERE project = $1 AND id = $2")
        .bind(&project.as_bytes()[..])
        .bind(&id.as_bytes()[..])
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}

fn token(row: &Row) -> Result<Token> {
    let bits: i64 = codec::get(row, "scopes")?;
    Ok(Token {
        id: TokenId::from_bytes(codec::bytes(row, "tokens", "id")?),
        project: codec::project(row, "tokens", "project")?,
        name: codec::get(row, "name")?,
        prefix: codec::get(row, "prefix")?,
        scopes: Scopes::from_bits(bits)
            .ok_or_else(|| codec::corrupt("tokens", "scopes", format!("unknown bits {bits}")))?,
        created: codec::get(row, "created")?,
        expires: codec::get(row, "expires")?,
        used: codec::get(row, "used")?,
        logins: codec::unsigned(codec::get(row, "logins")?, "projects", "logins")?,
    })
}
