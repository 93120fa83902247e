//! Backups: copies of a whole database as one SQLite file, whichever database the original is. A backup of
//! one kind of database can therefore be restored into the other.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::{
    Database, PostgresStore, ProjectStore as _, Result, SqliteStore, Store as _, StoreError, transfer,
};

/// Copies a consistent snapshot of a database into `file`. Others may keep using the database.
///
/// # Errors
/// If `file` exists, the database cannot be read, or the copy cannot be written.
pub async fn backup(database: &Database, file: &Path) -> Result<()> {
    make_private(file)?;
    let done = match database {
        Database::File(path) => vacuum_into(path, file).await,
        Database::Server(url) => from_server(url, file).await,
    };
    match done {
        Ok(()) => sync(file),
        Err(error) => {
            // An incomplete backup must not be mistaken for a complete one.
            let _ = std::fs::remove_file(file);
            Err(error)
        }
    }
}

/// Fills an empty database from a backup, which may be of an older version. Nothing else may use the database
/// meanwhile.
///
/// # Errors
/// If the database is not empty, or `file` is not a complete backup.
pub async fn restore(file: &Path, database: &Database) -> Result<()> {
    check(file).await?;
    match database {
        Database::File(path) => {
            make_private(path)?;
            if let Err(error) = vacuum_into(file, path).await {
                // A partial file would block the next attempt.
                let _ = std::fs::remove_file(path);
                return Err(error);
            }
            SqliteStore::open(path).await?.close().await;
            sync(path)
        }
        Database::Server(url) => into_server(file, url).await,
    }
}

/// Creates an empty file that only this user can read (it holds the data of all tenants), for SQLite to fill.
fn make_private(file: &Path) -> Result<()> {
    let refused =
        |reason: &dyn std::fmt::Display| StoreError::Refused(format!("{} {reason}", file.display()));
    match File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
    {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(refused(&"exists already")),
        Err(error) => Err(refused(&format_args!("cannot be written: {error}"))),
    }
}

async fn connect(file: &Path) -> Result<SqliteConnection> {
    Ok(SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(file)).await?)
}

/// Refuses a file that is damaged or not a database of the cloud.
async fn check(file: &Path) -> Result<()> {
    let mut connection = connect(file).await?;
    let found: String = sqlx::query_scalar("PRAGMA quick_check(1)")
        .fetch_one(&mut connection)
        .await?;
    let known: Option<String> =
        sqlx::query_scalar("SELECT name FROM sqlite_master WHERE name = '_sqlx_migrations'")
            .fetch_optional(&mut connection)
            .await?;
    connection.close().await?;
    if found != "ok" {
        return Err(StoreError::Refused(format!(
            "{} is damaged: {found}",
            file.display()
        )));
    }
    known
        .map(|_| ())
        .ok_or_else(|| StoreError::Refused(format!("{} is not a backup of a cloud", file.display())))
}

/// Copies a SQLite database; its readers and writers are not blocked.
async fn vacuum_into(from: &Path, to: &Path) -> Result<()> {
    let name = to
        .to_str()
        .ok_or_else(|| StoreError::Refused(format!("{} is not UTF-8", to.display())))?;
    let mut connection = connect(from).await?;
    let done = sqlx::query("VACUUM INTO $1")
        .bind(name)
        .execute(&mut connection)
        .await;
    connection.close().await?;
    done?;
    Ok(())
}

async fn from_server(url: &str, file: &Path) -> Result<()> {
    SqliteStore::open(file).await?.close().await;
    let mut source = PgConnection::connect(url).await?;
    let mut target = connect(file).await?;
    let mut reading = source
        .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        .await?;
    transfer::from_server(&mut reading, &mut target).await?;
    target.close().await?;
    Ok(())
}

async fn into_server(file: &Path, url: &str) -> Result<()> {
    let store = PostgresStore::open(url).await?;
    let used = !store.projects().await?.is_empty();
    store.close().await;
    if used {
        return Err(StoreError::Refused(
            "database is not empty: it contains projects".to_owned(),
        ));
    }
    // Migrate a copy, so that an older backup stays untouched.
    let copy = Copy::beside(file);
    make_private(&copy.0)?;
    vacuum_into(file, &copy.0).await?;
    SqliteStore::open(&copy.0).await?.close().await;
    let mut source = connect(&copy.0).await?;
    let mut target = PgConnection::connect(url).await?;
    let mut writing = target.begin().await?;
    transfer::into_server(&mut source, &mut writing).await?;
    writing.commit().await?;
    source.close().await?;
    target.close().await?;
    Ok(())
}

/// A working copy that is deleted on drop.
struct Copy(PathBuf);

impl Copy {
    fn beside(file: &Path) -> Self {
        Self(file.with_added_extension(format!("{}.restoring", std::process::id())))
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        for suffix in ["", "-wal", "-shm"] {
            let mut name = self.0.clone().into_os_string();
            name.push(suffix);
            let _ = std::fs::remove_file(name);
        }
    }
}

/// Flushes a file and its directory entry to disk.
fn sync(file: &Path) -> Result<()> {
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let synced = std::fs::File::open(file)
        .and_then(|file| file.sync_all())
        .and_then(|()| std::fs::File::open(folder)?.sync_all());
    synced.map_err(|error| StoreError::Database(sqlx::Error::Io(error)))
}
