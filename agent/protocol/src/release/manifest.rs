//! Manifest of a release: the signed description that a target of verified metadata carries beside its length
//! and digest. Parses and checks it; admission to a device is in `admit`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::chunks::MAX_CHUNKS;
use super::engine::{ENGINE_FIELD, EngineNeed};
use crate::tuf::TargetFile;

/// Key of a target's custom metadata that holds its manifest.
pub const MANIFEST_KEY: &str = "iottly";
/// Version of the manifest's layout that is written and read.
pub const MANIFEST_SCHEMA: u32 = 1;

/// Version of the firmware interface, as the manifests of releases state it.
pub const FIRMWARE_ABI: &str = "0.1.0";

/// Signed description of a release, beside its length and digest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the layout, [`MANIFEST_SCHEMA`].
    pub schema: u32,
    /// Component that the release replaces.
    pub component: Component,
    /// Version for people; decides nothing.
    pub version: String,
    /// Number that orders the releases of a component within a project.
    pub release_seq: u64,
    /// Lowest release number that the device accepts once this release is committed.
    pub security_floor: u64,
    /// Board profiles that the release is for; empty for all.
    #[serde(default)]
    pub boards: Vec<String>,
    /// Versions of the firmware interface that the release works with.
    pub abi: AbiRange,
    /// Size of a part of the download, in bytes.
    pub chunk_size: u64,
    /// Root over the digests of the parts, hex; see [`ChunkList::root`](super::ChunkList::root).
    pub chunk_root: String,
    /// Free space that the update needs, in bytes.
    pub requires_free: u64,
    /// Capabilities that the firmware imports beyond the basic ones, sorted.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// Layouts of the firmware's key-value state.
    #[serde(default)]
    pub data_schema: DataSchema,
    /// Rules of the trial.
    #[serde(default)]
    pub health: HealthRules,
    /// Script engine that the release needs; none for a component with code of its own. An agent without engines would
    /// take the release for such a component, so `critical` names the field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineNeed>,
    /// Time of the build, in unix seconds.
    pub created: u64,
    /// Names of fields that a reader must understand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub critical: Vec<String>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// Component that a release replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Component {
    /// Firmware in the sandbox.
    App,
}

/// Versions of the firmware interface, `major.minor`, both ends included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbiRange {
    /// Oldest version.
    pub min: String,
    /// Newest version.
    pub max: String,
}

impl AbiRange {
    /// Returns the range of one version, `major.minor` or longer.
    #[must_use]
    pub fn of(version: &str) -> Self {
        let minor: Vec<&str> = version.splitn(3, '.').take(2).collect();
        let minor = minor.join(".");
        Self {
            min: minor.clone(),
            max: minor,
        }
    }

    /// Returns true if a version, `major.minor` or longer, is in the range.
    #[must_use]
    pub fn contains(&self, version: &str) -> bool {
        match (minor(&self.min), minor(version), minor(&self.max)) {
            (Some(min), Some(version), Some(max)) => min <= version && version <= max,
            _ => false,
        }
    }
}

fn minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Layouts of the state that a firmware reads and writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataSchema {
    /// Oldest layout that the firmware reads.
    pub reads_min: u32,
    /// Newest layout that the firmware reads.
    pub reads_max: u32,
    /// Layout that the firmware writes.
    pub writes: u32,
}

impl Default for DataSchema {
    fn default() -> Self {
        Self {
            reads_min: 0,
            reads_max: 1,
            writes: 1,
        }
    }
}

/// Rules by which a trial passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthRules {
    /// Time that the release must run without a trap, in milliseconds.
    pub grace_ms: u64,
    /// Number of times that `health()` must succeed within that time.
    pub min_ok: u32,
    /// Maximum memory of the firmware, in bytes; 0 for the sandbox's own limit.
    pub max_memory: u64,
}

impl Default for HealthRules {
    fn default() -> Self {
        Self {
            grace_ms: 10_000,
            min_ok: 1,
            max_memory: 0,
        }
    }
}

/// Release as a target of signed metadata.
#[derive(Debug, Clone, PartialEq)]
pub struct Release {
    /// Path of the target.
    pub path: String,
    /// Size of the component, in bytes.
    pub size: u64,
    /// sha256 of the component, hex.
    pub sha256: String,
    /// Signed description of the release.
    pub manifest: Manifest,
    /// Root over the parts.
    pub chunk_root: [u8; 32],
}

/// Fields that this version understands if a manifest calls them critical.
const KNOWN: &[&str] = &[
    "schema",
    "component",
    "version",
    "release_seq",
    "security_floor",
    "boards",
    "abi",
    "chunk_size",
    "chunk_root",
    "requires_free",
    "capabilities",
    "data_schema",
    "health",
    ENGINE_FIELD,
    "created",
];

impl Release {
    /// Parses the release of a verified target.
    ///
    /// # Errors
    /// The target has no manifest, or one that contradicts itself or has critical fields that are not
    /// understood.
    pub fn from_target(path: &str, file: &TargetFile) -> Result<Self, String> {
        let custom = file.custom.as_ref().and_then(|custom| custom.get(MANIFEST_KEY));
        let custom = custom.ok_or_else(|| "the target has no manifest".to_owned())?;
        let manifest = Manifest::deserialize(custom).map_err(|e| format!("manifest: {e}"))?;
        if manifest.schema != MANIFEST_SCHEMA {
            return Err(format!("manifest of schema {}", manifest.schema));
        }
        if let Some(field) = manifest
            .critical
            .iter()
            .find(|field| !KNOWN.contains(&field.as_str()))
        {
            return Err(format!(
                "manifest field {:?} is critical and not understood",
                crate::limits::clip(field, 64)
            ));
        }
        if manifest.chunk_size < 1024 || file.length.div_ceil(manifest.chunk_size) > MAX_CHUNKS {
            return Err(format!("parts of {} bytes are too small", manifest.chunk_size));
        }
        if manifest.security_floor > manifest.release_seq {
            return Err("the security floor is above the release itself".to_owned());
        }
        if let Some(need) = &manifest.engine {
            need.check()?;
            if !manifest.critical.iter().any(|field| field == ENGINE_FIELD) {
                return Err("engine is not named as critical".to_owned());
            }
        }
        let root = crate::tuf::decode_hex(&manifest.chunk_root).and_then(|bytes| bytes.try_into().ok());
        let chunk_root = root.ok_or_else(|| "chunk_root is not a sha256".to_owned())?;
        let sha256 = file
            .hashes
            .get("sha256")
            .filter(|text| text.len() == 64)
            .ok_or_else(|| "the target has no sha256".to_owned())?;
        Ok(Self {
            path: path.to_owned(),
            size: file.length,
            sha256: sha256.to_ascii_lowercase(),
            manifest,
            chunk_root,
        })
    }

    /// Returns the number of parts of the download.
    #[must_use]
    pub fn chunk_count(&self) -> usize {
        usize::try_from(self.size.div_ceil(self.manifest.chunk_size).max(1)).unwrap_or(usize::MAX)
    }

    /// Returns the first byte and the length of a part.
    #[must_use]
    pub fn chunk_range(&self, number: usize) -> (u64, u64) {
        let from = (number as u64)
            .saturating_mul(self.manifest.chunk_size)
            .min(self.size);
        (from, self.manifest.chunk_size.min(self.size - from))
    }
}
