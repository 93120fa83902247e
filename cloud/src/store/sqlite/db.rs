//! The names under which the SQL modules know this database.

use sqlx::{Connection as _, SqliteConnection, SqliteTransaction};

pub(super) type Db = sqlx::Sqlite;
pub(super) type Conn = SqliteConnection;
pub(super) type Pool = sqlx::sqlite::SqlitePool;
pub(super) type Row = sqlx::sqlite::SqliteRow;

/// Begins a transaction that will write: it waits for other writers now instead of failing at its first write.
pub(super) async fn begin(connection: &mut Conn) -> Result<SqliteTransaction<'_>, sqlx::Error> {
    connection.begin_with("BEGIN IMMEDIATE").await
}

/// Reads a project's row so that no other change of the project happens until the transaction ends; here no other can write.
pub(super) const LOCK_PROJECT: &str = "SELECT name FROM projects WHERE id = $1";
