//! PostgreSQL specifics of the shared SQL.

use std::collections::BTreeSet;

use sqlx::postgres::{PgPool, PgRow};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgTransaction};

use iottly_core::model::{Scope, UnixMs};
use iottly_filter::date;

pub(super) type Db = sqlx::Postgres;
pub(super) type Conn = PgConnection;
pub(super) type Pool = PgPool;
pub(super) type Row = PgRow;

/// Key of the advisory lock for creating partitions.
const PARTITIONS: i64 = 0x696f_7474_6c79_0001;

/// Returns a parameter of a statement whose parameters are bound in the order in which they stand.
pub(super) fn parameter(number: usize) -> String {
    format!("${number}")
}

/// Begins a transaction for writing. Each statement sees what other transactions have committed by then.
pub(super) async fn begin(connection: &mut Conn) -> Result<PgTransaction<'_>, sqlx::Error> {
    connection.begin().await
}

/// Begins a read-only transaction in which all reads see the same snapshot of the database.
pub(super) async fn snapshot(pool: &Pool) -> Result<PgTransaction<'static>, sqlx::Error> {
    pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        .await
}

/// No index is named: the planner finds the one of devices whose firmware failed too often.
pub(super) const QUARANTINED: &str = "";

/// Condition of connected devices, as the index of them has it.
pub(super) const ONLINE: &str = "online";
/// No index is named: the planner chooses by its statistics.
pub(super) const STATES: &str = "";
/// No index is named: the planner chooses by its statistics.
pub(super) const GROUPED: &str = "";

/// Empty: the planner chooses by its statistics how it reads all devices of a project.
pub(super) const IN_ORDER: &str = "";

/// Beginning and end of an expression that puts columns of all rows, which must be texts, into one JSON text.
pub(super) const PACKED: (&str, &str) = ("CAST(json_agg(ARRAY[", "]) AS TEXT)");
/// Beginning of an expression that joins texts of all rows; a comma, the separator and a parenthesis end it.
pub(super) const JOINED: &str = "string_agg(";
/// Beginning and end of an expression of a number as text, with all its digits.
pub(super) const REAL: (&str, &str) = ("CAST(", " AS TEXT)");
/// Beginning and end of an expression of bytes as hex digits.
pub(super) const HEX: (&str, &str) = ("encode(", ", 'hex')");

/// Locks a project's row against other changes of the project until the transaction ends.
pub(super) const LOCK_PROJECT: &str = "SELECT name FROM projects WHERE id = $1 FOR NO KEY UPDATE";
/// Selects the device to erase next, and locks it against concurrent erasure.
pub(super) const ERASURE: &str = "SELECT project, device, requested FROM erasures WHERE due <= $1 OR due > $2 \
     ORDER BY due, device LIMIT 1 FOR UPDATE SKIP LOCKED";

/// Locks members and organisations against other changes until the transaction ends; they are rare.
pub(super) const LOCK_MEMBERS: &str = "LOCK TABLE members IN SHARE ROW EXCLUSIVE MODE";
/// Locks the rows of a query.
pub(super) const FOR_UPDATE: &str = " FOR UPDATE";
/// Locks the rows of a query and omits rows that other transactions have locked.
pub(super) const SKIP_LOCKED: &str = " FOR UPDATE SKIP LOCKED";

/// Locks these devices against concurrent uploads until the transaction ends.
///
/// An unknown stream has no row to lock, so advisory locks on hashes of the devices are used. They are taken
/// in ascending order, so that two transactions never deadlock.
pub(super) async fn lock_devices(
    tx: &mut Conn,
    devices: impl Iterator<Item = Scope>,
) -> Result<(), sqlx::Error> {
    let keys: BTreeSet<i64> = devices.map(lock_key).collect();
    let keys: Vec<i64> = keys.into_iter().collect();
    sqlx::query("SELECT pg_advisory_xact_lock(key) FROM unnest($1::bigint[]) AS key")
        .bind(keys)
        .execute(tx)
        .await?;
    Ok(())
}

fn lock_key(scope: Scope) -> i64 {
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(scope.project.as_bytes())
        .update(scope.device.as_bytes());
    let mut key = [0; 8];
    hasher.finalize_xof().fill(&mut key);
    i64::from_le_bytes(key)
}

/// Creates the missing partitions for messages of these times.
pub(crate) async fn make_room(
    tx: &mut Conn,
    moments: impl Iterator<Item = UnixMs>,
) -> Result<(), sqlx::Error> {
    let months: BTreeSet<i64> = moments.map(date::month).collect();
    let names: Vec<String> = months.iter().map(|month| partition(*month)).collect();
    let missing: Vec<bool> = sqlx::query_scalar(
        "SELECT to_regclass(name) IS NULL FROM unnest($1::text[]) WITH ORDINALITY AS n(name, i) ORDER BY i",
    )
    .bind(&names)
    .fetch_all(&mut *tx)
    .await?;
    if !missing.contains(&true) {
        return Ok(());
    }
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(PARTITIONS)
        .execute(&mut *tx)
        .await?;
    for (month, name) in months.iter().zip(names) {
        let (from, to) = (date::month_start(*month), date::month_start(month + 1));
        let sql = format!(
            "CREATE TABLE IF NOT EXISTS {name} PARTITION OF messages FOR VALUES FROM ({from}) TO ({to})"
        );
        // Contains only numbers.
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *tx).await?;
    }
    Ok(())
}

/// Returns the name of a month's partition.
fn partition(month: i64) -> String {
    format!(
        "messages_{:04}_{:02}",
        month.div_euclid(12),
        month.rem_euclid(12) + 1
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_named_by_their_month() {
        let name = |millis| partition(date::month(millis));
        assert_eq!(name(0), "messages_1970_01");
        assert_eq!(name(1_492_597_597_019), "messages_2017_04");
        assert_eq!(
            (name(1_483_228_799_999), name(1_483_228_800_000)),
            ("messages_2016_12".into(), "messages_2017_01".into())
        );
    }
}
