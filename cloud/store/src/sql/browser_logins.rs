//! Logins of browsers, by the hashes of their secrets.

use async_trait::async_trait;

use super::db::{self, Conn, Row};
use super::{Backend, codec};
use crate::{BrowserLoginStore, Result};
use iottly_core::model::{
    BROWSER_LOGINS, BROWSER_LOGINS_OF_PROJECT, BrowserLogin, LoginHolder, LoginsOf, Scopes, SecretHash,
    TokenId, UnixMs, UserId,
};

#[async_trait]
impl BrowserLoginStore for Backend {
    async fn browser_login(&self, hash: SecretHash) -> Result<Option<BrowserLogin>> {
        let row = sqlx::query(
            "SELECT project, actor, scopes, round, created, used, expires FROM browser_logins WHERE hash = $1",
        )
        .bind(&hash.0[..])
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(login).transpose()
    }

    async fn add_browser_login(&self, hash: SecretHash, login: BrowserLogin) -> Result<()> {
        let (project, actor, scopes) = match &login.holder {
            LoginHolder::Token {
                project,
                token,
                scopes,
            } => (Some(codec::id(project)), codec::id(token), Some(scopes.bits())),
            LoginHolder::User(user) => (None, codec::id(user), None),
        };
        let mut writer = self.write().await?;
        let mut tx = db::begin(&mut writer).await?;
        make_room(&mut tx, &login.holder).await?;
        sqlx::query(
            "INSERT INTO browser_logins (hash, project, actor, scopes, round, created, used, expires) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(&hash.0[..])
        .bind(project)
        .bind(actor)
        .bind(scopes)
        .bind(codec::signed(login.round))
        .bind(login.created)
        .bind(login.used)
        .bind(login.expires)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    async fn touch_browser_login(&self, hash: SecretHash, now: UnixMs) -> Result<()> {
        sqlx::query("UPDATE browser_logins SET used = $2 WHERE hash = $1")
            .bind(&hash.0[..])
            .bind(now)
            .execute(&mut *self.write().await?)
            .await?;
        Ok(())
    }

    async fn end_browser_login(&self, hash: SecretHash) -> Result<()> {
        sqlx::query("DELETE FROM browser_logins WHERE hash = $1")
            .bind(&hash.0[..])
            .execute(&mut *self.write().await?)
            .await?;
        Ok(())
    }

    async fn end_browser_logins(&self, of: LoginsOf) -> Result<u64> {
        let (sql, id) = match &of {
            LoginsOf::Token(token) => (
                "DELETE FROM browser_logins WHERE actor = $1 AND project IS NOT NULL",
                codec::id(token),
            ),
            LoginsOf::Project(project) => (
                "DELETE FROM browser_logins WHERE project = $1",
                codec::id(project),
            ),
            LoginsOf::User(user) => (
                "DELETE FROM browser_logins WHERE actor = $1 AND project IS NULL",
                codec::id(user),
            ),
        };
        let done = sqlx::query(sql)
            .bind(id)
            .execute(&mut *self.write().await?)
            .await?;
        Ok(done.rows_affected())
    }

    async fn forget_browser_logins(&self, before: UnixMs, limit: usize) -> Result<u64> {
        let done = sqlx::query(
            "DELETE FROM browser_logins WHERE hash IN \
             (SELECT hash FROM browser_logins WHERE expires < $1 ORDER BY expires LIMIT $2)",
        )
        .bind(before)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .execute(&mut *self.write().await?)
        .await?;
        Ok(done.rows_affected())
    }
}

/// Removes the oldest logins over the limits, so that one more fits.
async fn make_room(tx: &mut Conn, holder: &LoginHolder) -> Result<()> {
    let (project, actor) = match holder {
        LoginHolder::Token { project, token, .. } => (Some(project), codec::id(token)),
        LoginHolder::User(user) => (None, codec::id(user)),
    };
    keep_newest(tx, actor, BROWSER_LOGINS - 1).await?;
    let Some(project) = project else { return Ok(()) };
    loop {
        // The logins of the busiest token of the project; of several, the one with the oldest login.
        let row = sqlx::query(
            "SELECT actor, count(*) AS n, (SELECT count(*) FROM browser_logins WHERE project = $1) AS held \
             FROM browser_logins WHERE project = $1 GROUP BY actor ORDER BY n DESC, min(created), actor LIMIT 1",
        )
        .bind(codec::id(project))
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(()) };
        let held = codec::unsigned(codec::get(&row, "held")?, "browser_logins", "held")?;
        if held < BROWSER_LOGINS_OF_PROJECT as u64 {
            return Ok(());
        }
        let busiest: [u8; 16] = codec::bytes(&row, "browser_logins", "actor")?;
        let own = codec::unsigned(codec::get(&row, "n")?, "browser_logins", "n")?;
        let kept = usize::try_from(own.saturating_sub(1)).unwrap_or(0);
        keep_newest(tx, &busiest, kept).await?;
    }
}

/// Removes the logins of a token or user except the newest `kept`.
async fn keep_newest(tx: &mut Conn, actor: &[u8], kept: usize) -> Result<()> {
    sqlx::query(
        "DELETE FROM browser_logins WHERE actor = $1 AND hash NOT IN \
         (SELECT hash FROM browser_logins WHERE actor = $1 ORDER BY created DESC, hash LIMIT $2)",
    )
    .bind(actor)
    .bind(i64::try_from(kept).unwrap_or(i64::MAX))
    .execute(tx)
    .await?;
    Ok(())
}

fn login(row: &Row) -> Result<BrowserLogin> {
    let actor = codec::bytes(row, "browser_logins", "actor")?;
    let project: Option<&[u8]> = codec::get(row, "project")?;
    let holder = if project.is_some() {
        let bits: i64 = codec::get(row, "scopes")?;
        LoginHolder::Token {
            project: codec::project(row, "browser_logins", "project")?,
            token: TokenId::from_bytes(actor),
            scopes: Scopes::from_bits(bits)
                .ok_or_else(|| codec::corrupt("browser_logins", "scopes", format!("unknown bits {bits}")))?,
        }
    } else {
        LoginHolder::User(UserId::from_bytes(actor))
    };
    Ok(BrowserLogin {
        holder,
        round: codec::unsigned(codec::get(row, "round")?, "browser_logins", "round")?,
        created: codec::get(row, "created")?,
        used: codec::get(row, "used")?,
        expires: codec::get(row, "expires")?,
    })
}
