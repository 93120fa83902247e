//! What the shared SQL has to know about SQLite.

use sqlx::sqlite::SqlitePool;
use sqlx::{Connection as _, SqliteConnection, SqliteTransaction};

use iottly_core::model::{Scope, UnixMs};

pub(super) type Db = sqlx::Sqlite;
pub(super) type Conn = SqliteConnection;
pub(super) type Pool = SqlitePool;
pub(super) type Row = sqlx::sqlite::SqliteRow;

/// Begins a transaction that will write: it waits for other writers now instead of failing at its first
/// write.
pub(super) async fn begin(connection: &mut Conn) -> Result<SqliteTransaction<'_>, sqlx::Error> {
    connection.begin_with("BEGIN IMMEDIATE").await
}

/// Begins a transaction whose reads all see the database of one moment.
pub(super) async fn snapshot(pool: &Pool) -> Result<SqliteTransaction<'static>, sqlx::Error> {
    pool.begin().await
}

/// Reads a project's row so that no other change of the project happens until the transaction ends; here no
/// other can write.
pub(super) const LOCK_PROJECT: &str = "SELECT name FROM projects WHERE id = $1";
/// Reads the device that is to be erased next.
pub(super) const ERASURE: &str = "SELECT project, device, requested FROM erasures WHERE due <= $1 OR due > $2 ORDER BY due, device LIMIT 1";

/// Locks the rows of a query; here no other can write.
pub(super) const FOR_UPDATE: &str = "";
/// Locks the rows of a query and leaves out those that others have locked; here no other can write.
pub(super) const SKIP_LOCKED: &str = "";

/// Keeps others from storing what these devices sent until the transaction ends; here no other can write.
pub(super) async fn lock_devices(_: &mut Conn, _: impl Iterator<Item = Scope>) -> Result<(), sqlx::Error> {
    Ok(())
}

/// Makes room for messages of these moments; here one table takes all.
pub(super) async fn make_room(_: &mut Conn, _: impl Iterator<Item = UnixMs>) -> Result<(), sqlx::Error> {
    Ok(())
}
