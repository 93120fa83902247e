//! The store on PostgreSQL: a pool of connections, row locks, and messages partitioned by month.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Executor, Postgres};

use super::alerts::AlertCache;
use super::token_cache::TokenCache;
use super::webhook_cache::WebhookCache;
use super::write_turns::WriteTurns;
use super::{Result, message_ids};
use iottly_core::MessageIds;

mod db;
#[path = "../sql/mod.rs"]
mod sql;

pub(super) use db::make_room;

/// Name of this store in the shared SQL.
type Backend = PostgresStore;

/// Schema migrations, in order; a released one is never edited. From 11 on a step has the same number on both
/// databases.
const STEPS: [(i64, &str, &str); 35] = [
    (
        1,
        "initial",
        include_str!("../../migrations/postgres/0001_initial.sql"),
    ),
    (
        2,
        "limits",
        include_str!("../../migrations/postgres/0002_limits.sql"),
    ),
    (
        3,
        "webhooks",
        include_str!("../../migrations/postgres/0003_webhooks.sql"),
    ),
    (
        4,
        "releases",
        include_str!("../../migrations/postgres/0004_releases.sql"),
    ),
    (
        5,
        "bounds",
        include_str!("../../migrations/postgres/0005_bounds.sql"),
    ),
    (
        6,
        "logins_and_audit",
        include_str!("../../migrations/postgres/0006_logins_and_audit.sql"),
    ),
    (
        7,
        "undecided",
        include_str!("../../migrations/postgres/0007_undecided.sql"),
    ),
    (
        8,
        "steady_rollouts",
        include_str!("../../migrations/postgres/0008_steady_rollouts.sql"),
    ),
    (
        11,
        "presumed_status",
        include_str!("../../migrations/postgres/0011_presumed_status.sql"),
    ),
    (
        12,
        "branch_manifest",
        include_str!("../../migrations/postgres/0012_branch_manifest.sql"),
    ),
    (
        13,
        "developer_leases",
        include_str!("../../migrations/postgres/0013_developer_leases.sql"),
    ),
    (
        14,
        "enrolment",
        include_str!("../../migrations/postgres/0014_enrolment.sql"),
    ),
    (
        15,
        "message_firmware",
        include_str!("../../migrations/postgres/0015_message_firmware.sql"),
    ),
    (
        16,
        "people",
        include_str!("../../migrations/postgres/0016_people.sql"),
    ),
    (
        17,
        "public_releases",
        include_str!("../../migrations/postgres/0017_public_releases.sql"),
    ),
    (
        18,
        "groups of tokens and addresses",
        include_str!("../../migrations/postgres/0018_groups_of_tokens_and_addresses.sql"),
    ),
    (
        19,
        "waiting_keys",
        include_str!("../../migrations/postgres/0019_waiting_keys.sql"),
    ),
    (
        20,
        "device_copies",
        include_str!("../../migrations/postgres/0020_device_copies.sql"),
    ),
    (
        21,
        "code_drafts",
        include_str!("../../migrations/postgres/0021_code_drafts.sql"),
    ),
    (
        22,
        "logs_by_time",
        include_str!("../../migrations/postgres/0022_logs_by_time.sql"),
    ),
    (
        23,
        "series",
        include_str!("../../migrations/postgres/0023_series.sql"),
    ),
    (
        24,
        "presence",
        include_str!("../../migrations/postgres/0024_presence.sql"),
    ),
    (
        25,
        "alerts",
        include_str!("../../migrations/postgres/0025_alerts.sql"),
    ),
    (
        26,
        "jobs",
        include_str!("../../migrations/postgres/0026_jobs.sql"),
    ),
    (
        27,
        "timeline",
        include_str!("../../migrations/postgres/0027_timeline.sql"),
    ),
    (
        28,
        "machine_logins",
        include_str!("../../migrations/postgres/0028_machine_logins.sql"),
    ),
    (
        29,
        "mails",
        include_str!("../../migrations/postgres/0029_mails.sql"),
    ),
    (
        31,
        "device lists",
        include_str!("../../migrations/postgres/0031_device_lists.sql"),
    ),
    (
        32,
        "groups by index",
        include_str!("../../migrations/postgres/0032_groups_by_index.sql"),
    ),
    (
        35,
        "limits of alerts",
        include_str!("../../migrations/postgres/0035_alert_limits.sql"),
    ),
    (
        37,
        "logs and names",
        include_str!("../../migrations/postgres/0037_logs_and_names.sql"),
    ),
    (
        39,
        "rollout documents",
        include_str!("../../migrations/postgres/0039_rollout_documents.sql"),
    ),
    (
        40,
        "device health",
        include_str!("../../migrations/postgres/0040_device_health.sql"),
    ),
    (
        42,
        "browser_logins",
        include_str!("../../migrations/postgres/0042_browser_logins.sql"),
    ),
    (
        43,
        "roots",
        include_str!("../../migrations/postgres/0043_roots.sql"),
    ),
];

/// Maximum number of connections to the server.
const CONNECTIONS: u32 = 16;
/// Maximum number of requests that write at the same time; the other connections are for reading and for ingest.
const TURNS: usize = 8;
/// Maximum wait of a request for a free connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// A database on a PostgreSQL server, with a pool of connections.
pub struct PostgresStore {
    readers: PgPool,
    ids: Arc<MessageIds>,
    webhook_cache: WebhookCache,
    alert_cache: AlertCache,
    token_cache: TokenCache,
    turns: WriteTurns,
}

impl PostgresStore {
    /// Connects to the database at `url` and migrates its schema.
    ///
    /// # Errors
    /// If `url` is not of the form `postgres://user:password@host/database`, the server does not respond or
    /// refuses the login, or the schema is newer than this build.
    pub async fn open(url: &str) -> Result<Self> {
        let ids = message_ids()?;
        let options = PgConnectOptions::from_str(url)?.application_name("iottly");
        let pool = PgPoolOptions::new()
            .min_connections(1)
            .max_connections(CONNECTIONS)
            .acquire_timeout(PATIENCE);
        let pool = pool.after_connect(|connection, _| {
            Box::pin(async move {
                // What is acknowledged is on the server's disk, regardless of the server's configuration.
                connection.execute("SET synchronous_commit = on").await?;
                Ok(())
            })
        });
        let readers = pool.connect_with(options).await?;
        sql::prepare(&mut *readers.acquire().await?).await?;
        Ok(Self {
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

    /// Returns a connection for writing.
    async fn write(&self) -> Result<PoolConnection<Postgres>> {
        Ok(self.readers.acquire().await?)
    }

    /// Waits for running queries and closes the connections.
    async fn end(&self) {
        self.readers.close().await;
    }
}
