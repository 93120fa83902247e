//! The store's SQL, shared by both databases. Each database's module includes this folder and provides three
//! names: `Backend` (its store), `db` (its types and its specific statements) and `STEPS` (its migrations).

use async_trait::async_trait;

use super::{Backend, STEPS, db};
use crate::{Result, Store, StoreError};

mod alerts;
mod audit;
mod branches;
mod browser_logins;
mod change;
mod code;
mod code_usage;
mod codec;
mod commands;
mod copies;
mod definitions;
mod device_lists;
mod device_secrets;
mod device_settings;
mod devices;
mod drafts;
mod enrolment;
mod enrolment_keys;
mod erase;
mod gaps;
mod groups;
mod health;
mod history;
mod ingest;
mod jobs;
mod leases;
mod logs;
mod machine_logins;
mod messages;
pub(super) mod migrations;
mod multi_row;
mod own_entries;
mod packed;
mod packed_devices;
mod packed_members;
mod people;
mod people_audit;
mod people_change;
mod people_sign_in;
mod portals;
mod projects;
mod release_roots;
mod releases;
mod revisions;
mod rollout_devices;
mod rollout_lists;
mod rollout_upkeep;
mod rollouts;
mod rollups;
mod saved_plots;
mod senders;
mod series;
mod series_fill;
mod series_paths;
mod snippets;
mod streams;
mod timeline;
mod tokens;
mod usage;
mod webhooks;

/// Migrates the schema and fills in data that a migration left out.
pub(super) async fn prepare(connection: &mut db::Conn) -> Result<()> {
    migrations::run(connection).await?;
    devices::complete_keys(connection).await?;
    branches::complete_empty(connection).await
}

#[async_trait]
impl Store for Backend {
    async fn close(&self) {
        self.end().await;
    }
}

/// Returns `affected`, or an error when no row was affected: the thing must exist.
fn missing(affected: u64, what: &'static str, name: &dyn std::fmt::Display) -> Result<u64> {
    if affected == 0 {
        Err(StoreError::Missing {
            what,
            name: name.to_string(),
        })
    } else {
        Ok(affected)
    }
}

/// Returns an error when `count` has reached the limit.
fn full(count: i64, what: &'static str, max: i64) -> Result<()> {
    if count >= max {
        Err(StoreError::Full { what, max })
    } else {
        Ok(())
    }
}

/// Converts a violation of uniqueness into [`StoreError::Exists`].
fn taken(error: sqlx::Error, what: &'static str, name: &str) -> StoreError {
    match &error {
        sqlx::Error::Database(database) if database.is_unique_violation() => StoreError::Exists {
            what,
            name: name.to_owned(),
        },
        _ => StoreError::Database(error),
    }
}
