//! SQLite specifics of the shared SQL.

use sqlx::sqlite::SqlitePool;
use sqlx::{Connection as _, SqliteConnection, SqliteTransaction};

use iottly_core::model::{Scope, UnixMs};

pub(super) type Db = sqlx::Sqlite;
pub(super) type Conn = SqliteConnection;
pub(super) type Pool = SqlitePool;
pub(super) type Row = sqlx::sqlite::SqliteRow;

/// Returns a parameter of a statement whose parameters are bound in the order in which they stand. SQLite searches
/// the numbers of all parameters for each one that is bound, so in a statement with hundreds of them numbers cost
/// more time than the rest of the insert.
pub(super) fn parameter(_: usize) -> String {
    "?".to_owned()
}

/// Begins a transaction for writing. Waits for other writers now instead of failing at the first write.
pub(super) async fn begin(connection: &mut Conn) -> Result<SqliteTransaction<'_>, sqlx::Error> {
    connection.begin_with("BEGIN IMMEDIATE").await
}

/// Begins a read-only transaction in which all reads see the same snapshot of the database.
pub(super) async fn snapshot(pool: &Pool) -> Result<SqliteTransaction<'static>, sqlx::Error> {
    pool.begin().await
}

/// Index of devices whose firmware failed too often: the planner would read all devices of the project.
pub(super) const QUARANTINED: &str = " INDEXED BY devices_quarantined";

/// Condition of connected devices, as the index of them has it: the planner does not see that `true` is 1.
pub(super) const ONLINE: &str = "online = 1";
/// Index of the states of a rollout's devices: the planner would read the large rows.
pub(super) const STATES: &str = " INDEXED BY rollout_devices_states";
/// Index of a group's devices in the order of their key: the planner may take another one, whose order costs a search for
/// each row.
pub(super) const GROUPED: &str = " INDEXED BY devices_grouped";

/// Condition that all devices `d` meet. With it the planner reads a project's devices in the order of their key; otherwise it
/// may take an index of their project, and look up the row of each of its entries.
pub(super) const IN_ORDER: &str = " AND d.id >= x''";

/// Beginning and end of an expression that puts columns of all rows, which must be texts, into one JSON text.
pub(super) const PACKED: (&str, &str) = ("json_group_array(json_array(", "))");
/// Beginning of an expression that joins texts of all rows; a comma, the separator and a parenthesis end it.
pub(super) const JOINED: &str = "group_concat(";
/// Beginning and end of an expression of a number as text, with all its digits.
pub(super) const REAL: (&str, &str) = ("printf('%!.17g', ", ")");
/// Beginning and end of an expression of bytes as hex digits.
pub(super) const HEX: (&str, &str) = ("hex(", ")");

/// Reads a project's row. Locks nothing: there are no other writers.
pub(super) const LOCK_PROJECT: &str = "SELECT name FROM projects WHERE id = $1";
/// Selects the device to erase next.
pub(super) const ERASURE: &str = "SELECT project, device, requested FROM erasures WHERE due <= $1 OR due > $2 ORDER BY due, device LIMIT 1";

/// Locks nothing: there are no other writers.
pub(super) const LOCK_MEMBERS: &str = "SELECT 1";
/// Locks nothing: there are no other writers.
pub(super) const FOR_UPDATE: &str = "";
/// Locks nothing: there are no other writers.
pub(super) const SKIP_LOCKED: &str = "";

/// Does nothing: there are no other writers.
#[expect(
    clippy::unused_async,
    reason = "has the signature of its PostgreSQL counterpart, which waits"
)]
pub(super) async fn lock_devices(_: &mut Conn, _: impl Iterator<Item = Scope>) -> Result<(), sqlx::Error> {
    Ok(())
}

/// Does nothing: messages are in a single table.
#[expect(
    clippy::unused_async,
    reason = "has the signature of its PostgreSQL counterpart, which waits"
)]
pub(super) async fn make_room(_: &mut Conn, _: impl Iterator<Item = UnixMs>) -> Result<(), sqlx::Error> {
    Ok(())
}
