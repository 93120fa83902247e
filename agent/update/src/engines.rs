//! Script engines that releases have brought: what the journal says of them, and their files. Decides nothing.

use std::io;

use iottly_protocol::release::{EngineManifest, EngineTarget};
use serde::{Deserialize, Serialize};

use crate::disk::Disk;
use crate::files;
use crate::memory::Memory;
use crate::offer::Planned;

/// Files of engines: one for the engine of the committed release, one for the engine of the update under way.
const FILES: [&str; MAX_STORED_ENGINES] = ["update/engine-0.wasm", "update/engine-1.wasm"];
/// Maximum number of engines that a device keeps beside its own.
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

    /// Returns the engine in the form in which files are downloaded.
    pub(crate) fn to_download(&self, release: &Planned) -> Planned {
        Planned {
            path: self.path.clone(),
            size: self.size,
            sha256: self.sha256.clone(),
            chunk_size: self.chunk_size,
            chunk_root: self.chunk_root.clone(),
            engine: None,
            ..release.clone()
        }
    }
}

/// Engine that a release has brought, or is bringing. Its file counts only if it has this digest.
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
        FILES[usize::from(self.place) % MAX_STORED_ENGINES]
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

impl Memory {
    /// Reserves a place for an engine. The engine of the committed release keeps its own.
    pub(crate) fn reserve_engine(&mut self, engine: &PlannedEngine) {
        self.drop_engines();
        self.engines.retain(|stored| stored.sha256 != engine.sha256);
        let places = u8::try_from(MAX_STORED_ENGINES).expect("two fit");
        let place = (0..places)
            .find(|place| self.engines.iter().all(|stored| stored.place != *place))
            .expect("the committed release has one of two places");
        self.engines.push(StoredEngine {
            abi: engine.abi.clone(),
            sha256: engine.sha256.clone(),
            place,
        });
    }

    /// Forgets the engines that the committed release does not run on.
    pub(crate) fn drop_engines(&mut self) {
        let needed = self
            .committed
            .as_ref()
            .and_then(|committed| committed.engine.as_ref());
        self.engines.retain(|stored| Some(&stored.sha256) == needed);
        self.engines.truncate(1);
    }

    /// Returns the stored engine with this digest.
    #[must_use]
    pub fn stored_engine(&self, sha256: &str) -> Option<&StoredEngine> {
        self.engines.iter().find(|stored| stored.sha256 == sha256)
    }
}

/// Returns the engines whose files are what was verified.
pub(crate) fn intact(disk: &impl Disk, memory: &Memory) -> io::Result<Vec<StoredEngine>> {
    let mut intact = Vec::new();
    for engine in &memory.engines {
        if is_stored(disk, engine)? {
            intact.push(engine.clone());
        }
    }
    Ok(intact)
}

/// Returns true if the file of an engine is what was verified.
pub(crate) fn is_stored(disk: &impl Disk, engine: &StoredEngine) -> io::Result<bool> {
    Ok(files::digest(disk, engine.file())?.is_some_and(|found| found == engine.sha256))
}

/// Removes the files of engines that the journal does not name. The caller makes the names durable.
pub(crate) fn remove_others(disk: &mut impl Disk, memory: &Memory) -> io::Result<()> {
    for file in FILES {
        if memory.engines.iter().all(|engine| engine.file() != file) {
            disk.remove(file)?;
        }
    }
    Ok(())
}
