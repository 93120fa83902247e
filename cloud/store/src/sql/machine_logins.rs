//! Logins of people on machines, by the hashes of their secrets.

use async_trait::async_trait;

use super::db::{Conn, Row};
use super::{Backend, codec, full, missing};
use crate::{MachineLoginStore, Result};
use iottly_core::model::{
    MAX_MACHINE_LOGINS, MachineLogin, MachineLoginId, Scopes, SecretHash, UnixMs, UserId,
};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, user_id, machine, prefix, address, project, scopes, created, expires, used, round \
             FROM machine_logins WHERE ",
            $rest
        )
    };
}

#[async_trait]
impl MachineLoginStore for Backend {
    async fn machine_login(&self, hash: SecretHash) -> Result<Option<MachineLogin>> {
        let row = sqlx::query(select!("hash = $1"))
            .bind(&hash.0[..])
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(login).transpose()
    }

    async fn machine_login_by_id(&self, user: UserId, id: MachineLoginId) -> Result<Option<MachineLogin>> {
        let row = sqlx::query(select!("user_id = $1 AND id = $2"))
            .bind(codec::id(&user))
            .bind(codec::id(&id))
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(login).transpose()
    }

    async fn machine_logins(&self, user: UserId) -> Result<Vec<MachineLogin>> {
        let rows = sqlx::query(select!("user_id = $1 ORDER BY created, id"))
            .bind(codec::id(&user))
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(login).collect()
    }

    async fn touch_machine_login(&self, user: UserId, id: MachineLoginId, now: UnixMs) -> Result<()> {
        sqlx::query("UPDATE machine_logins SET used = $3 WHERE user_id = $1 AND id = $2")
            .bind(codec::id(&user))
            .bind(codec::id(&id))
            .bind(now)
            .execute(&mut *self.write().await?)
            .await?;
        Ok(())
    }
}

/// Adds a login within the user's limit, and removes those of the user that are over.
pub(super) async fn add(tx: &mut Conn, hash: SecretHash, login: &MachineLogin, now: UnixMs) -> Result<()> {
    sqlx::query("DELETE FROM machine_logins WHERE user_id = $1 AND (expires <= $2 OR round <> $3)")
        .bind(codec::id(&login.user))
        .bind(now)
        .bind(codec::signed(login.round))
        .execute(&mut *tx)
        .await?;
    let row = sqlx::query("SELECT count(*) AS n FROM machine_logins WHERE user_id = $1")
        .bind(codec::id(&login.user))
        .fetch_one(&mut *tx)
        .await?;
    full(codec::get(&row, "n")?, "machine logins", MAX_MACHINE_LOGINS)?;
    sqlx::query(
        "INSERT INTO machine_logins \
         (hash, id, user_id, machine, prefix, address, project, scopes, created, expires, round) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(&hash.0[..])
    .bind(codec::id(&login.id))
    .bind(codec::id(&login.user))
    .bind(&login.machine)
    .bind(&login.prefix)
    .bind(&login.address)
    .bind(login.project.as_ref().map(codec::id))
    .bind(login.scopes.bits())
    .bind(login.created)
    .bind(login.expires)
    .bind(codec::signed(login.round))
    .execute(tx)
    .await?;
    Ok(())
}

/// Removes a login of a user, and returns the name of its machine.
pub(super) async fn revoke(tx: &mut Conn, user: UserId, id: MachineLoginId) -> Result<String> {
    let row = sqlx::query("SELECT machine FROM machine_logins WHERE user_id = $1 AND id = $2")
        .bind(codec::id(&user))
        .bind(codec::id(&id))
        .fetch_optional(&mut *tx)
        .await?;
    let machine = row
        .as_ref()
        .map(|row| codec::get::<String>(row, "machine"))
        .transpose()?;
    let done = sqlx::query("DELETE FROM machine_logins WHERE user_id = $1 AND id = $2")
        .bind(codec::id(&user))
        .bind(codec::id(&id))
        .execute(tx)
        .await?;
    missing(done.rows_affected(), "machine login", &id)?;
    Ok(machine.unwrap_or_default())
}

/// Removes the logins of a user who has been deleted.
pub(super) async fn of_deleted(tx: &mut Conn, user: UserId) -> Result<()> {
    sqlx::query(
        "DELETE FROM machine_logins WHERE user_id = $1 AND NOT EXISTS (SELECT 1 FROM users WHERE id = $1)",
    )
    .bind(codec::id(&user))
    .execute(tx)
    .await?;
    Ok(())
}

fn login(row: &Row) -> Result<MachineLogin> {
    let bits: i64 = codec::get(row, "scopes")?;
    let project: Option<&[u8]> = codec::get(row, "project")?;
    let project = project.map(|_| codec::project(row, "machine_logins", "project"));
    Ok(MachineLogin {
        id: MachineLoginId::from_bytes(codec::bytes(row, "machine_logins", "id")?),
        user: UserId::from_bytes(codec::bytes(row, "machine_logins", "user_id")?),
        machine: codec::get(row, "machine")?,
        prefix: codec::get(row, "prefix")?,
        address: codec::get(row, "address")?,
        project: project.transpose()?,
        scopes: Scopes::from_bits(bits)
            .ok_or_else(|| codec::corrupt("machine_logins", "scopes", format!("unknown bits {bits}")))?,
        created: codec::get(row, "created")?,
        expires: codec::get(row, "expires")?,
        used: codec::get(row, "used")?,
        round: codec::unsigned(codec::get(row, "round")?, "machine_logins", "round")?,
    })
}
