//! Assembly of a running cloud: store, broker, ingest and commands.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::broker::{Broker, BrokerError};
use crate::command::CommandService;
use crate::live::LiveHub;
use crate::message_id::MessageIds;
use crate::model::UnixMs;
use crate::store::{Store, StoreError};

/// What a cloud needs to start.
#[derive(Debug, Clone)]
pub struct CloudConfig {
    /// Folder of the database; created when missing, locked while the cloud runs.
    pub data: PathBuf,
    /// Address of the MQTT listener; port 0 takes any free port.
    pub mqtt: SocketAddr,
}

/// The parts that request handlers use; cheap to clone.
#[derive(Clone)]
pub struct Services {
    /// The database.
    pub store: Arc<dyn Store>,
    /// Commands: validation, storage and dispatch.
    pub commands: Arc<CommandService>,
    /// Messages as they are stored.
    pub live: Arc<LiveHub>,
    /// The MQTT broker.
    pub broker: Arc<dyn Broker>,
    /// The mint of ObjectIds.
    pub ids: Arc<MessageIds>,
    /// When the cloud started.
    pub started: UnixMs,
}

/// Why a cloud did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder is unusable.
    #[error("data folder {}: {reason}", path.display())]
    Data {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The database is unusable.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The broker did not start.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}
