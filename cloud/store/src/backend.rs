//! Choice of the database, by configuration.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::{PostgresStore, Result, SqliteStore, Store};
use iottly_core::MessageIds;

/// The database that holds the cloud's data.
#[derive(Clone)]
pub enum Database {
    /// A SQLite file; created when missing.
    File(PathBuf),
    /// A PostgreSQL database: `postgres://user:password@host/database`.
    Server(String),
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            // The URL may contain a password.
            Self::Server(_) => f.write_str("Server(…)"),
        }
    }
}

/// Opens a database and migrates its schema. Returns the store and the generator of its message ids.
///
/// # Errors
/// As [`SqliteStore::open`] and [`PostgresStore::open`].
pub async fn open(database: &Database) -> Result<(Arc<dyn Store>, Arc<MessageIds>)> {
    Ok(match database {
        Database::File(path) => {
            let store = SqliteStore::open(path).await?;
            let ids = store.ids();
            (Arc::new(store), ids)
        }
        Database::Server(url) => {
            let store = PostgresStore::open(url).await?;
            let ids = store.ids();
            (Arc::new(store), ids)
        }
    })
}
