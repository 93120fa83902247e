//! An accepted directive and the release that it names, as the journal keeps them. Nothing is verified here.

use iottly_protocol::release::{Action, HealthRules, Release, Window};
use serde::{Deserialize, Serialize};

use crate::engines::PlannedEngine;

/// Verified facts about a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// Path under which the release is served, encoded for an address.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// sha256 of the release, hex.
    pub sha256: String,
    /// Number of the release.
    pub release_seq: u64,
    /// Security floor once the release is committed.
    pub security_floor: u64,
    /// Size of a part, in bytes.
    pub chunk_size: u64,
    /// Root over the parts, hex.
    pub chunk_root: String,
    /// Layout in which the release writes its state.
    pub data_schema: u32,
    /// Rules of its trial.
    pub health: HealthRules,
    /// Script engine that the device takes before the release; none if it has one that fits, or needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<PlannedEngine>,
}

impl Planned {
    /// Returns what is kept of a verified release.
    #[must_use]
    pub fn new(release: &Release, served_path: String, engine: Option<PlannedEngine>) -> Self {
        let manifest = &release.manifest;
        Self {
            path: served_path,
            size: release.size,
            sha256: release.sha256.clone(),
            release_seq: manifest.release_seq,
            security_floor: manifest.security_floor,
            chunk_size: manifest.chunk_size,
            chunk_root: manifest.chunk_root.to_ascii_lowercase(),
            data_schema: manifest.data_schema.writes,
            health: manifest.health,
            engine,
        }
    }

    /// Returns the engine that the device takes before the release, in the form in which files are downloaded.
    pub(crate) fn engine_download(&self) -> Option<Self> {
        let engine = self.engine.as_ref()?;
        Some(Self {
            path: engine.path.clone(),
            size: engine.size,
            sha256: engine.sha256.clone(),
            chunk_size: engine.chunk_size,
            chunk_root: engine.chunk_root.clone(),
            engine: None,
            ..self.clone()
        })
    }
}

/// Accepted directive: verified, for this device, valid at its arrival, with a new counter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Id of the directive.
    pub id: String,
    /// Signed document, to be verified again after a restart.
    pub document: String,
    /// Counter of the directive.
    pub counter: u64,
    /// Requested action.
    pub action: Action,
    /// sha256 of the release, hex.
    pub sha256: String,
    /// Longest time for the update, in seconds.
    pub deadline_s: u64,
    /// Maintenance window in which the update may begin.
    pub window: Option<Window>,
    /// Maximum download rate, in bytes per second; 0 for no limit.
    pub max_bps: u64,
}
