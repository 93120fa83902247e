use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::chunks::MAX_CHUNKS;
use crate::tuf::TargetFile;

/// The key of a target's custom metadata under which its manifest stands.
pub const MANIFEST_KEY: &str = "iottly";
/// The layout of manifests that is written and read.
pub const MANIFEST_SCHEMA: u32 = 1;

/// Version of the firmware interface: of the WIT package `iottly:firmware` that components import and export.
pub const FIRMWARE_ABI: &str = "0.1.0";

/// What is signed about a release, beside its length and digest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The layout, [`MANIFEST_SCHEMA`].
    pub schema: u32,
    /// What it replaces.
    pub component: Component,
    /// For people; decides nothing.
    pub version: String,
    /// Orders releases of a component within a project.
    pub release_seq: u64,
    /// Once this release is committed, none below this number is taken again.
    pub security_floor: u64,
    /// Board profiles that it is for; empty for all.
    #[serde(default)]
    pub boards: Vec<String>,
    /// The firmware interface that it needs.
    pub abi: AbiRange,
    /// Bytes of a part of the download.
    pub chunk_size: u64,
    /// Root over the parts, hex.
    pub chunk_root: String,
    /// Room that must be free, bytes.
    pub requires_free: u64,
    /// What the firmware imports beyond the basics, sorted.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// The layout of its key-value state.
    #[serde(default)]
    pub data_schema: DataSchema,
    /// When a trial is good.
    #[serde(default)]
    pub health: HealthRules,
    /// Unix seconds.
    pub created: u64,
    /// Names of fields that must be understood.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub critical: Vec<String>,
    /// Fields that are not known here.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// What a release replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Component {
    /// The firmware in the sandbox.
    App,
}

/// Versions of the firmware interface, `major.minor`, both ends included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbiRange {
    /// The oldest.
    pub min: String,
    /// The newest.
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

    /// Says whether a version, `major.minor` or longer, lies in the range.
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

/// Which layouts of the state a firmware reads, and which it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataSchema {
    /// The oldest it reads.
    pub reads_min: u32,
    /// The newest it reads.
    pub reads_max: u32,
    /// What it writes.
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

/// When a trial is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthRules {
    /// How long it must run without a trap, milliseconds.
    pub grace_ms: u64,
    /// How often `health()` must say yes within that time.
    pub min_ok: u32,
    /// Memory that it may use, bytes; 0 for the sandbox's own limit.
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

/// A release as a target of signed metadata.
#[derive(Debug, Clone, PartialEq)]
pub struct Release {
    /// The target's path.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// sha256, hex.
    pub sha256: String,
    /// What else is signed.
    pub manifest: Manifest,
    /// Root over the parts.
    pub chunk_root: [u8; 32],
}

/// Fields that this version understands when a manifest calls them critical.
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
    "created",
];

impl Release {
    /// Reads the release out of a verified target.
    ///
    /// # Errors
    /// When it has no manifest, or one that contradicts itself or has critical fields that are not
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

    /// How many parts the download has.
    #[must_use]
    pub fn chunk_count(&self) -> usize {
        usize::try_from(self.size.div_ceil(self.manifest.chunk_size).max(1)).unwrap_or(usize::MAX)
    }

    /// First byte and length of a part.
    #[must_use]
    pub fn chunk_range(&self, number: usize) -> (u64, u64) {
        let from = (number as u64)
            .saturating_mul(self.manifest.chunk_size)
            .min(self.size);
        (from, self.manifest.chunk_size.min(self.size - from))
    }
}
