//! The store on SQLite: one writer, a few readers, a write-ahead log that is synced at every commit.

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use super::alerts::AlertCache;
use super::token_cache::TokenCache;
use super::webhook_cache::WebhookCache;
use super::write_turns::WriteTurns;
use super::{Result, StoreError, message_ids};
use iottly_core::MessageIds;

mod db;
#[path = "../sql/mod.rs"]
mod sql;

/// Name of this store in the shared SQL.
type Backend = SqliteStore;

/// Schema migrations, in order; a released one is never edited. From 11 on a step has the same number on both
/// databases.
const STEPS: [(i64, &str, &str); 37] = [
    (
        1,
        "initial",
        include_str!("../../migrations/sqlite/0001_initial.sql"),
    ),
    (2, "api", include_str!("../../migrations/sqlite/0002_api.sql")),
    (
        3,
        "device_config",
        include_str!("../../migrations/sqlite/0003_device_config.sql"),
    ),
    (
        4,
        "limits",
        include_str!("../../migrations/sqlite/0004_limits.sql"),
    ),
    (
        5,
        "webhooks",
        include_str!("../../migrations/sqlite/0005_webhooks.sql"),
    ),
    (
        6,
        "releases",
        include_str!("../../migrations/sqlite/0006_releases.sql"),
    ),
    (
        7,
        "bounds",
        include_str!("../../migrations/sqlite/0007_bounds.sql"),
    ),
    (
        8,
        "logins_and_audit",
        include_str!("../../migrations/sqlite/0008_logins_and_audit.sql"),
    ),
    (
        9,
        "undecided",
        include_str!("../../migrations/sqlite/0009_undecided.sql"),
    ),
    (
        10,
        "steady_rollouts",
        include_str!("../../migrations/sqlite/0010_steady_rollouts.sql"),
    ),
    (
        11,
        "presumed_status",
        include_str!("../../migrations/sqlite/0011_presumed_status.sql"),
    ),
    (
        12,
        "branch_manifest",
        include_str!("../../migrations/sqlite/0012_branch_manifest.sql"),
    ),
    (
        13,
        "developer_leases",
        include_str!("../../migrations/sqlite/0013_developer_leases.sql"),
    ),
    (
        14,
        "enrolment",
        include_str!("../../migrations/sqlite/0014_enrolment.sql"),
    ),
    (
        15,
        "message_firmware",
        include_str!("../../migrations/sqlite/0015_message_firmware.sql"),
    ),
    (
        16,
        "people",
        include_str!("../../migrations/sqlite/0016_people.sql"),
    ),
    (
        17,
        "public_releases",
        include_str!("../../migrations/sqlite/0017_public_releases.sql"),
    ),
    (
        18,
        "groups of tokens and addresses",
        include_str!("../../migrations/sqlite/0018_groups_of_tokens_and_addresses.sql"),
    ),
    (
        19,
        "waiting_keys",
        include_str!("../../migrations/sqlite/0019_waiting_keys.sql"),
    ),
    (
        20,
        "device_copies",
        include_str!("../../migrations/sqlite/0020_device_copies.sql"),
    ),
    (
        21,
        "code_drafts",
        include_str!("../../migrations/sqlite/0021_code_drafts.sql"),
    ),
    (
        22,
        "logs_by_time",
        include_str!("../../migrations/sqlite/0022_logs_by_time.sql"),
    ),
    (
        23,
        "series",
        include_str!("../../migrations/sqlite/0023_series.sql"),
    ),
    (
        24,
        "presence",
        include_str!("../../migrations/sqlite/0024_presence.sql"),
    ),
    (
        25,
        "alerts",
        include_str!("../../migrations/sqlite/0025_alerts.sql"),
    ),
    (26, "jobs", include_str!("../../migrations/sqlite/0026_jobs.sql")),
    (
        27,
        "timeline",
        include_str!("../../migrations/sqlite/0027_timeline.sql"),
    ),
    (
        28,
        "machine_logins",
        include_str!("../../migrations/sqlite/0028_machine_logins.sql"),
    ),
    (
        29,
        "mails",
        include_str!("../../migrations/sqlite/0029_mails.sql"),
    ),
    (
        31,
        "device lists",
        include_str!("../../migrations/sqlite/0031_device_lists.sql"),
    ),
    (
        32,
        "groups by index",
        include_str!("../../migrations/sqlite/0032_groups_by_index.sql"),
    ),
    (
        35,
        "limits of alerts",
        include_str!("../../migrations/sqlite/0035_alert_limits.sql"),
    ),
    (
        37,
        "logs and names",
        include_str!("../../migrations/sqlite/0037_logs_and_names.sql"),
    ),
    (
        39,
        "rollout documents",
        include_str!("../../migrations/sqlite/0039_rollout_documents.sql"),
    ),
    (
        40,
        "device health",
        include_str!("../../migrations/sqlite/0040_device_health.sql"),
    ),
    (
        42,
        "browser_logins",
        include_str!("../../migrations/sqlite/0042_browser_logins.sql"),
    ),
    (
        43,
        "roots",
        include_str!("../../migrations/sqlite/0043_roots.sql"),
    ),
];

/// Number of reading connections; each uses a thread.
const READERS: u32 = 4;
/// Number of requests that queue for the writer at the same time: the others wait for their turn, so that ingest finds
/// at most one before it.
const TURNS: usize = 1;
/// Maximum wait of a statement for another process (a backup) that has locked the database.
const BUSY: Duration = Duration::from_secs(5);

/// A database file and its connections.
pub struct SqliteStore {
    writer: Mutex<Option<SqliteConnection>>,
    /// Options for opening the writer connection.
    options: SqliteConnectOptions,
    readers: SqlitePool,
    ids: Arc<MessageIds>,
    webhook_cache: WebhookCache,
    alert_cache: AlertCache,
    token_cache: TokenCache,
    turns: WriteTurns,
}

/// Creates the file of a new database readable by this user only; SQLite gives its other files the same
/// permissions. Errors are ignored: SQLite reports them when it opens the file.
fn make_private(path: &Path) {
    let _ = std::fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
}

impl SqliteStore {
    /// Opens the database at `path`, creates it if missing, and migrates its schema.
    ///
    /// # Errors
    /// If the file cannot be opened, is damaged, or has a newer schema than this build.
    pub async fn open(path: &Path) -> Result<Self> {
        let ids = message_ids()?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            .foreign_keys(true)
            .pragma("cache_size", "-8192")
            .pragma("journal_size_limit", "67108864");
        make_private(path);
        let mut writer = SqliteConnection::connect_with(&options).await?;
        sql::prepare(&mut writer).await?;
        let readers = SqlitePoolOptions::new()
            .min_connections(1)
            .max_connections(READERS);
        let readers = readers
            .connect_with(options.clone().pragma("query_only", "on"))
            .await?;
        Ok(Self {
            writer: Mutex::new(Some(writer)),
            options,
            readers,
            ids: Arc::new(ids),
            webhook_cache: WebhookCache::default(),
            alert_cache: AlertCache::default(),
            token_cache: TokenCache::default(),
            turns: WriteTurns::new(TURNS),
        })
    }

    /// Returns the generator of message ids of this store.
    #[must_use]
    pub fn ids(&self) -> Arc<MessageIds> {
        Arc::clone(&self.ids)
    }

    /// Locks the writer connection, reopening it if a failed commit left it unusable.
    async fn write(&self) -> Result<MappedMutexGuard<'_, SqliteConnection>> {
        let mut guard = self.writer.lock().await;
        if let Some(writer) = guard.as_mut().filter(|writer| writer.is_in_transaction()) {
            self.mend(writer).await?;
        }
        MutexGuard::try_map(guard, Option::as_mut).map_err(|_| StoreError::Database(sqlx::Error::PoolClosed))
    }

    /// Reopens the writer connection if it is stuck. After a disk error SQLite ends the transaction by
    /// itself, the following rollback fails, and sqlx considers the connection to be in a transaction
    /// forever.
    async fn mend(&self, writer: &mut SqliteConnection) -> Result<()> {
        // The ping returns after the rollback of a transaction that was just dropped.
        writer.ping().await?;
        if writer.is_in_transaction() {
            *writer = SqliteConnection::connect_with(&self.options).await?;
            tracing::warn!("failed to commit because of a disk error; reopened the writer connection");
        }
        Ok(())
    }

    /// Waits for the current write and closes the file.
    async fn end(&self) {
        let writer = self.writer.lock().await.take();
        self.readers.close().await;
        if let Some(writer) = writer
            && let Err(error) = writer.close().await
        {
            tracing::warn!(%error, "failed to close the database; committed data is safe");
        }
    }
}
