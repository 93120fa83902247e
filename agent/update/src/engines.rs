//! Script engines that a device keeps as files, as the journal names them: those that releases have brought, and a copy
//! of the agent's own that the committed script runs on. Touches no file.

use iottly_protocol::release::{EngineManifest, EngineTarget};
use serde::{Deserialize, Serialize};

/// Files of engines: one for the engine of the committed release, one for the engine of the update under way.
pub(crate) const ENGINE_FILES: [&str; MAX_STORED_ENGINES] = ["update/engine-0.wasm", "update/engine-1.wasm"];
/// Maximum number of engines that a device keeps beside the agent's own.
pub const MAX_STORED_ENGINES: usize = 2;

/// Verified facts about an engine that a device takes with a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedEngine {
    /// Name of what scripts can rely on.
    pub abi: String,
    /// Path under which the engine is served, encoded for an address.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// sha256 of the engine, hex.
    pub sha256: String,
    /// Size of a part, in bytes.
    pub chunk_size: u64,
    /// Root over the parts, hex.
    pub chunk_root: String,
}

impl PlannedEngine {
    /// Returns what is kept of a verified engine.
    #[must_use]
    pub fn new(target: &EngineTarget, manifest: &EngineManifest, served_path: String) -> Self {
        Self {
            abi: manifest.abi.clone(),
            path: served_path,
            size: target.size,
            sha256: target.sha256.to_ascii_lowercase(),
            chunk_size: manifest.chunk_size,
            chunk_root: manifest.chunk_root.to_ascii_lowercase(),
        }
    }
}

/// Engine that a release has brought or is bringing, or a copy of an engine of the agent. Its file counts only if it has this digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredEngine {
    /// Name of what scripts can rely on.
    pub abi: String,
    /// sha256 of the engine, hex.
    pub sha256: String,
    /// Number of its file.
    pub place: u8,
}

impl StoredEngine {
    /// Returns the file of the engine.
    #[must_use]
    pub fn file(&self) -> &'static str {
        ENGINE_FILES[usize::from(self.place) % MAX_STORED_ENGINES]
    }
}

/// Trial of the committed script on another engine than the one it was committed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineTrial {
    /// sha256 of the other engine, hex.
    pub engine: String,
    /// Number of starts of the board within the trial.
    pub boots: u32,
}
