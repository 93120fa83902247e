//! Script engines in releases: what a script needs, what a device has, and engines as targets of their own. Reads no
//! component.

use serde::{Deserialize, Serialize};

use super::chunks::MAX_CHUNKS;
use crate::limits::{MAX_COMPONENT_BYTES, MAX_ENGINE_NAME_BYTES};
use crate::tuf::{TargetFile, decode_hex};

/// Name of the manifest's field that an agent has to understand before it takes a script.
pub const ENGINE_FIELD: &str = "engine";
/// Key of a target's custom metadata that describes an engine.
pub const ENGINE_KEY: &str = "iottly-engine";

/// Script engine that a release needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineNeed {
    /// Name of what the script relies on, such as `script 1`.
    pub abi: String,
    /// sha256 of the only engine that may run the script, hex; none if every engine of that name may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// Engine in the same repository, for devices that have none that fits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<EngineTarget>,
}

/// Engine that a release offers beside itself: a target of the same signed metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineTarget {
    /// Path of the target.
    pub path: String,
    /// sha256 of the engine, hex.
    pub sha256: String,
    /// Size of the engine, in bytes.
    pub size: u64,
}

/// Script engine that a device has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineFact {
    /// Name of what scripts can rely on.
    pub abi: String,
    /// sha256 of the engine, hex.
    pub sha256: String,
}

/// Signed description of an engine, beside its length and digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineManifest {
    /// Name of what scripts can rely on.
    pub abi: String,
    /// Size of a part of the download, in bytes.
    pub chunk_size: u64,
    /// Root over the parts of the download, hex.
    pub chunk_root: String,
}

impl EngineNeed {
    /// Returns the need of a script that any engine of this name may run.
    #[must_use]
    pub fn of(abi: impl Into<String>) -> Self {
        Self {
            abi: abi.into(),
            exact: None,
            target: None,
        }
    }

    /// Returns true if an engine may run the script.
    #[must_use]
    pub fn fits(&self, engine: &EngineFact) -> bool {
        engine.abi == self.abi && self.is_exactly(&engine.sha256)
    }

    /// Returns the engine that the release offers, if a device with these engines has to take it: it has none that
    /// fits, but can run scripts.
    #[must_use]
    pub fn to_take(&self, engines: &[EngineFact]) -> Option<&EngineTarget> {
        let lacks = !engines.is_empty() && !engines.iter().any(|engine| self.fits(engine));
        self.target.as_ref().filter(|_| lacks)
    }

    /// Checks names, digests and sizes.
    ///
    /// # Errors
    /// The text names the first field that is wrong.
    pub(super) fn check(&self) -> Result<(), String> {
        if !is_name(&self.abi) {
            return Err("engine.abi is not the name of an engine".to_owned());
        }
        if self.exact.as_ref().is_some_and(|digest| !is_sha256(digest)) {
            return Err("engine.exact is not a sha256".to_owned());
        }
        let Some(target) = &self.target else { return Ok(()) };
        if !is_sha256(&target.sha256) || !self.is_exactly(&target.sha256) {
            return Err("engine.target is not the engine that the release needs".to_owned());
        }
        if !(1..=MAX_COMPONENT_BYTES as u64).contains(&target.size) {
            return Err(format!(
                "engine.target has {} bytes, the limit is {MAX_COMPONENT_BYTES}",
                target.size
            ));
        }
        Ok(())
    }

    fn is_exactly(&self, digest: &str) -> bool {
        self.exact
            .as_ref()
            .is_none_or(|exact| exact.eq_ignore_ascii_case(digest))
    }
}

impl EngineManifest {
    /// Parses the description of a verified target, which must be the engine that a release names.
    ///
    /// # Errors
    /// The target is no engine, or another one.
    pub fn from_target(need: &EngineNeed, wanted: &EngineTarget, file: &TargetFile) -> Result<Self, String> {
        let custom = file.custom.as_ref().and_then(|custom| custom.get(ENGINE_KEY));
        let custom = custom.ok_or_else(|| "engine: the target is no engine".to_owned())?;
        let manifest = Self::deserialize(custom).map_err(|e| format!("engine: {e}"))?;
        let digest = file.hashes.get("sha256");
        if file.length != wanted.size
            || digest.is_none_or(|digest| !digest.eq_ignore_ascii_case(&wanted.sha256))
            || manifest.abi != need.abi
        {
            return Err("engine: the target is not the engine that the release names".to_owned());
        }
        if manifest.chunk_size < 1024 || file.length.div_ceil(manifest.chunk_size) > MAX_CHUNKS {
            return Err(format!(
                "engine: parts of {} bytes are too small",
                manifest.chunk_size
            ));
        }
        if !is_sha256(&manifest.chunk_root) {
            return Err("engine: chunk_root is not a sha256".to_owned());
        }
        Ok(manifest)
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_ENGINE_NAME_BYTES && !text.chars().any(char::is_control)
}

fn is_sha256(text: &str) -> bool {
    decode_hex(text).is_some_and(|bytes| bytes.len() == 32)
}
