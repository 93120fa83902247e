//! Enrolment keys, by their hashes.

use iottly_protocol::{GroupId, ProjectId};

use super::db::{Conn, Pool, Row};
use super::{codec, full, groups, missing, taken};
use crate::Result;
use iottly_core::enrol::KeyFacts;
use iottly_core::model::{
    EnrolmentKey, EnrolmentKeyId, MAX_ENROLMENT_KEYS, NewEnrolmentKey, SecretHash, UnixMs,
};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT project, id, name, prefix, created, expires, uses, max_uses, group_id, tags, ephemeral_ms, waiting \
             FROM enrolment_keys WHERE ",
            $rest
        )
    };
}

pub(super) async fn all(pool: &Pool, project: ProjectId) -> Result<Vec<EnrolmentKey>> {
    let query = sqlx::query(select!("project = $1 ORDER BY created, id")).bind(codec::id(&project));
    query.fetch_all(pool).await?.iter().map(key).collect()
}

/// Returns the facts of the key with this hash, whatever its project.
pub(super) async fn by_hash(tx: &mut Conn, hash: SecretHash) -> Result<Option<KeyFacts>> {
    let row = sqlx::query(select!("hash = $1"))
        .bind(&hash.0[..])
        .fetch_optional(tx)
        .await?;
    row.as_ref().map(facts).transpose()
}

fn facts(row: &Row) -> Result<KeyFacts> {
    let found = key(row)?;
    Ok(KeyFacts {
        project: codec::project(row, "enrolment_keys", "project")?,
        key: found.id,
        expires: found.expires,
        uses: found.uses,
        max_uses: found.max_uses,
        group: found.group,
        tags: found.tags,
        ephemeral_ms: found.ephemeral_ms,
        waiting: found.waiting,
    })
}

/// Adds a key, within the project's limit.
pub(super) async fn add(tx: &mut Conn, project: ProjectId, new: &NewEnrolmentKey) -> Result<u64> {
    let row = sqlx::query("SELECT count(*) AS n FROM enrolment_keys WHERE project = $1")
        .bind(codec::id(&project))
        .fetch_one(&mut *tx)
        .await?;
    full(codec::get(&row, "n")?, "enrolment keys", MAX_ENROLMENT_KEYS)?;
    let key = &new.key;
    if let Some(group) = key.group {
        groups::must_exist(tx, project, group).await?;
    }
    let tags = serde_json::to_string(&key.tags).expect("a list of texts serializes without failing");
    sqlx::query(
        "INSERT INTO enrolment_keys (project, id, hash, name, prefix, created, expires, uses, max_uses, group_id, tags, \
         ephemeral_ms, waiting) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $9, $10, $11, $12)",
    )
    .bind(codec::id(&project))
    .bind(codec::id(&key.id))
    .bind(&new.hash.0[..])
    .bind(codec::text(&key.name))
    .bind(&key.prefix)
    .bind(key.created)
    .bind(key.expires)
    .bind(codec::signed(key.max_uses))
    .bind(key.group.as_ref().map(codec::id))
    .bind(codec::text(&tags))
    .bind(key.ephemeral_ms)
    .bind(key.waiting)
    .execute(tx)
    .await
    .map_err(|error| taken(error, "enrolment key", &key.name))?;
    Ok(1)
}

pub(super) async fn delete(tx: &mut Conn, project: ProjectId, id: EnrolmentKeyId) -> Result<u64> {
    let done = sqlx::query("DELETE FROM enrolment_keys WHERE project = $1 AND id = $2")
        .bind(codec::id(&project))
        .bind(codec::id(&id))
        .execute(tx)
        .await?;
    missing(done.rows_affected(), "enrolment key", &id)
}

/// Counts a device of a key. The caller holds the project's lock.
pub(super) async fn count(tx: &mut Conn, key: &KeyFacts) -> Result<()> {
    sqlx::query("UPDATE enrolment_keys SET uses = uses + 1 WHERE project = $1 AND id = $2")
        .bind(codec::id(&key.project))
        .bind(codec::id(&key.key))
        .execute(tx)
        .await?;
    Ok(())
}

fn key(row: &Row) -> Result<EnrolmentKey> {
    let group: Option<&[u8]> = codec::get(row, "group_id")?;
    let ephemeral_ms: Option<UnixMs> = codec::get(row, "ephemeral_ms")?;
    let number = |field| codec::unsigned(codec::get(row, field)?, "enrolment_keys", field);
    Ok(EnrolmentKey {
        id: EnrolmentKeyId::from_bytes(codec::bytes(row, "enrolment_keys", "id")?),
        name: codec::get(row, "name")?,
        prefix: codec::get(row, "prefix")?,
        created: codec::get(row, "created")?,
        expires: codec::get(row, "expires")?,
        uses: number("uses")?,
        max_uses: number("max_uses")?,
        group: group
            .is_some()
            .then(|| {
                Ok::<_, crate::StoreError>(GroupId::from_bytes(codec::bytes(
                    row,
                    "enrolment_keys",
                    "group_id",
                )?))
            })
            .transpose()?,
        tags: codec::json(codec::get(row, "tags")?, "enrolment_keys", "tags")?,
        ephemeral_ms,
        waiting: codec::get(row, "waiting")?,
    })
}
