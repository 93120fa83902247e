//! API tokens, by the hashes of their secrets.

use std::time::Instant;

use async_trait::async_trait;
use iottly_protocol::{GroupId, ProjectId};

use super::db::{Conn, Row};
use super::{Backend, codec, full, groups, missing, taken};
use crate::write_turns::Lane;
use crate::{Result, TokenStore};
use iottly_core::model::{Scopes, SecretHash, Token, TokenId, UnixMs};

/// Maximum number of tokens of a project.
const MAX_TOKENS: i64 = 100;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT project, id, name, prefix, scopes, group_id, created, expires, used, \
             (SELECT p.logins FROM projects p WHERE p.id = tokens.project) AS logins FROM tokens WHERE ",
            $rest
        )
    };
}

#[async_trait]
impl TokenStore for Backend {
    async fn create_token(&self, hash: SecretHash, token: &Token) -> Result<()> {
        let _turn = self.turns.take(Lane::Project(token.project)).await;
        create(&mut *self.write().await?, hash, token).await
    }

    async fn token(&self, hash: SecretHash) -> Result<Option<Token>> {
        let asked = match self.token_cache.get(hash, Instant::now()) {
            Ok(known) => return Ok(Some(known)),
            Err(asked) => asked,
        };
        let row = sqlx::query(select!("hash = $1"))
            .bind(&hash.0[..])
            .fetch_optional(&self.readers)
            .await?;
        let found = row.as_ref().map(token).transpose()?;
        if let Some(found) = &found {
            self.token_cache.put(asked, hash, found, Instant::now());
        }
        Ok(found)
    }

    async fn token_by_id(&self, project: ProjectId, id: TokenId) -> Result<Option<Token>> {
        let query = sqlx::query(select!("project = $1 AND id = $2"))
            .bind(codec::id(&project))
            .bind(codec::id(&id));
        query
            .fetch_optional(&self.readers)
            .await?
            .as_ref()
            .map(token)
            .transpose()
    }

    async fn tokens(&self, project: ProjectId) -> Result<Vec<Token>> {
        let query = sqlx::query(select!("project = $1 ORDER BY created, id")).bind(codec::id(&project));
        query.fetch_all(&self.readers).await?.iter().map(token).collect()
    }

    async fn touch_token(&self, project: ProjectId, id: TokenId, now: UnixMs) -> Result<()> {
        let mut writer = self.write().await?;
        sqlx::query("UPDATE tokens SET used = $3 WHERE project = $1 AND id = $2")
            .bind(codec::id(&project))
            .bind(codec::id(&id))
            .bind(now)
            .execute(&mut *writer)
            .await?;
        self.token_cache.clear();
        Ok(())
    }
}

pub(super) async fn create(connection: &mut Conn, hash: SecretHash, token: &Token) -> Result<()> {
    sqlx::query(
        "INSERT INTO tokens (hash, project, id, name, prefix, scopes, created, expires, group_id) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(&hash.0[..])
    .bind(codec::id(&token.project))
    .bind(codec::id(&token.id))
    .bind(&token.name)
    .bind(&token.prefix)
    .bind(token.scopes.bits())
    .bind(token.created)
    .bind(token.expires)
    .bind(token.group.as_ref().map(codec::id))
    .execute(connection)
    .await
    .map_err(|error| taken(error, "token", &token.name))?;
    Ok(())
}

/// Adds a token, within the project's limit. The deployment group that it is bound to must exist.
pub(super) async fn add(tx: &mut Conn, project: ProjectId, hash: SecretHash, token: &Token) -> Result<u64> {
    if let Some(group) = token.group {
        groups::named(tx, project, group).await?;
    }
    let row = sqlx::query("SELECT count(*) AS n FROM tokens WHERE project = $1")
        .bind(codec::id(&project))
        .fetch_one(&mut *tx)
        .await?;
    full(codec::get(&row, "n")?, "tokens", MAX_TOKENS)?;
    create(tx, hash, token).await?;
    Ok(1)
}

pub(super) async fn revoke(tx: &mut Conn, project: ProjectId, id: TokenId) -> Result<u64> {
    let done = sqlx::query("DELETE FROM tokens WHERE project = $1 AND id = $2")
        .bind(codec::id(&project))
        .bind(codec::id(&id))
        .execute(tx)
        .await?;
    missing(done.rows_affected(), "token", &id)
}

/// Removes the tokens that are bound to a deployment group.
pub(super) async fn revoke_bound(tx: &mut Conn, project: ProjectId, group: GroupId) -> Result<()> {
    sqlx::query("DELETE FROM tokens WHERE project = $1 AND group_id = $2")
        .bind(codec::id(&project))
        .bind(codec::id(&group))
        .execute(tx)
        .await?;
    Ok(())
}

fn token(row: &Row) -> Result<Token> {
    let bits: i64 = codec::get(row, "scopes")?;
    let group: Option<&[u8]> = codec::get(row, "group_id")?;
    let group = group.map(|_| codec::group(row, "tokens", "group_id"));
    Ok(Token {
        id: TokenId::from_bytes(codec::bytes(row, "tokens", "id")?),
        project: codec::project(row, "tokens", "project")?,
        name: codec::get(row, "name")?,
        prefix: codec::get(row, "prefix")?,
        scopes: Scopes::from_bits(bits)
            .ok_or_else(|| codec::corrupt("tokens", "scopes", format!("unknown bits {bits}")))?,
        group: group.transpose()?,
        created: codec::get(row, "created")?,
        expires: codec::get(row, "expires")?,
        used: codec::get(row, "used")?,
        logins: codec::unsigned(codec::get(row, "logins")?, "projects", "logins")?,
    })
}
