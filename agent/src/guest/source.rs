//! Arguments of the firmware's thread: the firmware with its resources, and the connections to the agent.

use std::path::PathBuf;
use std::sync::Arc;

use iottly_boards::Board;
use iottly_sandbox::{Cache, Runtime};
use tokio::sync::mpsc;

use super::budget::WriteBudget;
use super::meter::Meter;
use crate::access::Access;
use crate::outbox::Outbox;
use crate::settings::Settings;
use crate::status::StatusBoard;
use crate::watchdog::Part;
use crate::work::GuestEvent;

/// Connections of the firmware's thread to the rest of the agent.
#[derive(Clone)]
pub(crate) struct Ports {
    pub(crate) outbox: Outbox,
    pub(crate) inbox: mpsc::Sender<GuestEvent>,
    pub(crate) status: StatusBoard,
    /// Figures for the report about the device's health.
    pub(crate) meter: Meter,
}

/// Firmware that the device is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Installed {
    /// The update has not decided yet; commands wait.
    Undecided,
    /// There is none; commands fail.
    Nothing,
    /// The component in this file.
    File(PathBuf),
}

impl From<Option<PathBuf>> for Installed {
    fn from(file: Option<PathBuf>) -> Self {
        file.map_or(Self::Nothing, Self::File)
    }
}

/// Firmware to run and the resources it gets.
pub(crate) struct FirmwareSource {
    /// The firmware, which an update replaces.
    pub(crate) installed: Installed,
    /// sha256 of the engine that a script is to run on; the device's own choice if there is none.
    pub(crate) engine: Option<String>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) runtime: Runtime,
    /// Id of the device.
    pub(crate) device: String,
    /// Board that the firmware drives.
    pub(crate) board: Option<Arc<dyn Board>>,
    /// Parts of the board that firmware may use.
    pub(crate) access: Access,
    /// Settings from the cloud.
    pub(crate) settings: Settings,
    /// File of the key-value state.
    pub(crate) state: PathBuf,
    /// Limit on the bytes that the firmware may make the device write.
    pub(crate) budget: WriteBudget,
    /// Reports the progress of the thread.
    pub(crate) part: Part,
}
