#![doc = include_str!("../README.md")]

use async_trait::async_trait;
use iottly_core::MessageIds;

mod alerts;
mod backend;
mod backup;
mod browser_logins;
mod changes;
mod code;
mod commands;
mod device_lists;
mod devices;
mod drafts;
mod enrolment;
mod erasure;
mod error;
mod fault;
mod health;
mod history;
mod ingest;
mod jobs;
mod leases;
mod machine_logins;
mod pending_webhooks;
mod people;
mod portals;
#[allow(
    clippy::duplicate_mod,
    reason = "the shared SQL is compiled once for each database, under its types"
)]
mod postgres;
mod projects;
mod releases;
mod rollouts;
mod saved_plots;
mod series;
#[allow(
    clippy::duplicate_mod,
    reason = "the shared SQL is compiled once for each database, under its types"
)]
mod sqlite;
mod timeline;
mod token_cache;
mod tokens;
mod transfer;
mod usage;
mod webhook_cache;
pub mod webhooks;
mod write_turns;

pub use alerts::AlertStore;
pub use backend::{Database, open};
pub use backup::{backup, restore};
pub use browser_logins::BrowserLoginStore;
pub use changes::ChangeStore;
pub use code::CodeStore;
pub use commands::{CommandQuery, CommandRoom, CommandStore, OpenTotals, PAGE_COMMANDS, Submitted};
pub use device_lists::{
    Attention, DeviceCounts, DeviceListStore, DeviceNeeds, DevicePlace, DigestCount, GroupCounts,
};
pub use devices::{DeviceStore, NewDevice};
pub use drafts::DraftStore;
pub use enrolment::{Enrolment, EnrolmentStore, Grant, NewSecret};
pub use erasure::ErasureStore;
pub use error::{Result, StoreError};
pub use fault::Fault;
pub use health::HealthStore;
pub use history::{
    EntrySize, FoundLogs, HistoryStore, LogPlace, LogQuery, PageQuery, SEARCHED_LINES, ScanBounds,
};
pub use ingest::IngestStore;
pub use jobs::{ClaimedJob, JobPlace, JobStep, JobStore};
pub use leases::{LeaseStore, OpenOrder};
pub use machine_logins::MachineLoginStore;
pub use pending_webhooks::PendingWebhooks;
pub use people::{Author, PeopleChange, PeopleStore, ProviderUser};
pub use portals::PortalStore;
pub use postgres::PostgresStore;
pub use projects::ProjectStore;
pub use releases::ReleaseStore;
pub use rollouts::RolloutStore;
pub use saved_plots::SavedPlotStore;
pub use series::{LinesQuery, OldRollups, Selection, SeriesList, SeriesPath, SeriesStore};
pub use sqlite::SqliteStore;
pub use timeline::TimelineStore;
pub use tokens::TokenStore;
pub use usage::UsageStore;
pub use webhooks::WebhookStore;

/// The cloud's database: the operations of all families.
#[async_trait]
pub trait Store:
    ProjectStore
    + ChangeStore
    + UsageStore
    + TokenStore
    + PeopleStore
    + MachineLoginStore
    + BrowserLoginStore
    + DeviceStore
    + DeviceListStore
    + EnrolmentStore
    + IngestStore
    + HealthStore
    + HistoryStore
    + ErasureStore
    + CommandStore
    + CodeStore
    + DraftStore
    + ReleaseStore
    + RolloutStore
    + LeaseStore
    + SeriesStore
    + SavedPlotStore
    + WebhookStore
    + PortalStore
    + AlertStore
    + TimelineStore
    + JobStore
{
    /// Waits for the current write and closes the database; every later call fails.
    async fn close(&self);
}

/// Returns the generator of message ids of a database that is opened.
fn message_ids() -> Result<MessageIds> {
    let mut process = [0; 5];
    getrandom::fill(&mut process).map_err(|error| StoreError::Database(sqlx::Error::Io(error.into())))?;
    Ok(MessageIds::new(process))
}
