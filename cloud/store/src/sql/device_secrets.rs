//! Secrets of broker logins, by their hashes.

use iottly_protocol::DeviceId;
use iottly_protocol::enroll::DeviceKey;

use super::codec;
use super::db::{Conn, Pool, Row};
use crate::{NewSecret, Result};
use iottly_core::enrol::{self, RenewalRefusal, SecretFacts};
use iottly_core::model::{Scope, SecretHash, UnixMs};

/// Hash of no secret: of devices that log in with secrets that expire.
pub(super) const NONE: SecretHash = SecretHash::NONE;

/// Returns the hashes of the secrets with which a device may log in at `now`.
pub(super) async fn valid(
    pool: &Pool,
    device: DeviceId,
    now: UnixMs,
) -> Result<Option<(Scope, Vec<SecretHash>)>> {
    let rows = sqlx::query(
        "SELECT d.project, d.id, d.secret, s.hash FROM devices d \
         LEFT JOIN device_secrets s ON s.project = d.project AND s.device = d.id AND s.expires > $2 WHERE d.id = $1",
    )
    .bind(codec::id(&device))
    .bind(now)
    .fetch_all(pool)
    .await?;
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let scope = codec::scope(first, "devices", "id")?;
    let mut hashes = vec![SecretHash(codec::bytes(first, "devices", "secret")?)];
    for row in &rows {
        let hash: Option<&[u8]> = codec::get(row, "hash")?;
        if hash.is_some() {
            hashes.push(SecretHash(codec::bytes(row, "device_secrets", "hash")?));
        }
    }
    hashes.retain(|hash| *hash != NONE);
    Ok(Some((scope, hashes)))
}

/// Gives a device its only secret.
pub(super) async fn replace(tx: &mut Conn, scope: Scope, secret: &NewSecret, now: UnixMs) -> Result<()> {
    sqlx::query("DELETE FROM device_secrets WHERE project = $1 AND device = $2")
        .bind(codec::id(&scope.project))
        .bind(codec::id(&scope.device))
        .execute(&mut *tx)
        .await?;
    insert(tx, scope, secret, now).await
}

/// Gives a device a new secret beside the newest of those that it has.
pub(super) async fn renew(
    tx: &mut Conn,
    scope: Scope,
    key: DeviceKey,
    secret: &NewSecret,
    now: UnixMs,
) -> Result<std::result::Result<(), RenewalRefusal>> {
    // The proof was checked before the transaction. This serialises renewals of one device where the database has several
    // writers, and finds that another board has taken its place meanwhile.
    let held = sqlx::query(
        "UPDATE device_keys SET enrolled = enrolled WHERE project = $1 AND device = $2 AND device_key = $3",
    )
    .bind(codec::id(&scope.project))
    .bind(codec::id(&scope.device))
    .bind(&key.as_bytes()[..])
    .execute(&mut *tx)
    .await?;
    if held.rows_affected() == 0 {
        return Ok(Err(RenewalRefusal::Replaced));
    }
    let rows = sqlx::query(
        "SELECT nonce, created, expires FROM device_secrets WHERE project = $1 AND device = $2 ORDER BY created DESC, expires DESC",
    )
    .bind(codec::id(&scope.project))
    .bind(codec::id(&scope.device))
    .fetch_all(&mut *tx)
    .await?;
    let known = rows.iter().map(facts).collect::<Result<Vec<_>>>()?;
    let former = match enrol::renew(&known, &secret.nonce, now) {
        Ok(former) => former,
        Err(refusal) => return Ok(Err(refusal)),
    };
    for old in known.iter().skip(1) {
        sqlx::query("DELETE FROM device_secrets WHERE project = $1 AND device = $2 AND nonce = $3")
            .bind(codec::id(&scope.project))
            .bind(codec::id(&scope.device))
            .bind(&old.nonce[..])
            .execute(&mut *tx)
            .await?;
    }
    if let Some(expires) = former {
        sqlx::query("UPDATE device_secrets SET expires = $3 WHERE project = $1 AND device = $2")
            .bind(codec::id(&scope.project))
            .bind(codec::id(&scope.device))
            .bind(expires)
            .execute(&mut *tx)
            .await?;
    }
    // The secret of release 0.1 ends once the device has shown that it keeps its key.
    sqlx::query("UPDATE devices SET secret = $3 WHERE project = $1 AND id = $2 AND secret <> $3")
        .bind(codec::id(&scope.project))
        .bind(codec::id(&scope.device))
        .bind(&NONE.0[..])
        .execute(&mut *tx)
        .await?;
    insert(tx, scope, secret, now).await.map(Ok)
}

fn facts(row: &Row) -> Result<SecretFacts> {
    Ok(SecretFacts {
        created: codec::get(row, "created")?,
        expires: codec::get(row, "expires")?,
        nonce: codec::bytes(row, "device_secrets", "nonce")?,
    })
}

async fn insert(tx: &mut Conn, scope: Scope, secret: &NewSecret, now: UnixMs) -> Result<()> {
    sqlx::query(
        "INSERT INTO device_secrets (project, device, hash, nonce, created, expires) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(codec::id(&scope.project))
    .bind(codec::id(&scope.device))
    .bind(&secret.hash.0[..])
    .bind(&secret.nonce[..])
    .bind(now)
    .bind(secret.expires)
    .execute(tx)
    .await?;
    Ok(())
}
