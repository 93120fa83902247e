//! An accepted directive and the release that it names, as the journal keeps them. Nothing is verified here.

use iottly_protocol::release::{Action, HealthRules, Release, Window};
use serde::{Deserialize, Serialize};

/// What is known about a release once its metadata is verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// The path under which it is served, encoded for an address.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// sha256, hex.
    pub sha256: String,
    /// Its number.
    pub release_seq: u64,
    /// The floor once it is committed.
    pub security_floor: u64,
    /// Bytes of a part.
    pub chunk_size: u64,
    /// Root over the parts, hex.
    pub chunk_root: String,
    /// The layout in which it writes its state.
    pub data_schema: u32,
    /// When its trial is good.
    pub health: HealthRules,
}

impl Planned {
    /// What is kept of a verified release.
    #[must_use]
    pub fn new(release: &Release, served_path: String) -> Self {
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
        }
    }
}

/// A directive that was accepted: verified, for this device, in its time, with a new counter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The directive's id.
    pub id: String,
    /// The signed document, to be verified again after a restart.
    pub document: String,
    /// The directive's counter.
    pub counter: u64,
    /// What to do.
    pub action: Action,
    /// The release's sha256, hex.
    pub sha256: String,
    /// How long the update may take, seconds.
    pub deadline_s: u64,
    /// When it may begin.
    pub window: Option<Window>,
    /// Bytes a second at most; 0 for no cap.
    pub max_bps: u64,
}
