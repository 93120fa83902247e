//! Lengths and digests of files, and their comparison with what was signed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256, Sha512};

use super::{TufError, hex};

/// Returns the sha256 of some bytes, lower-case hex.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(&Sha256::digest(bytes))
}

/// Signed description of a metadata file in another one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileInfo {
    /// Current version, from 1.
    pub version: u64,
    /// Length in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// Digests by algorithm, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hashes: Option<BTreeMap<String, String>>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

impl FileInfo {
    /// Returns a description of a version and nothing else.
    #[must_use]
    pub fn of_version(version: u64) -> Self {
        Self {
            version,
            length: None,
            hashes: None,
            extra: BTreeMap::new(),
        }
    }

    /// Checks length and digests of a whole file.
    ///
    /// # Errors
    /// The file is longer or shorter, a digest differs, or no digest is of a known algorithm.
    pub(super) fn check(&self, what: &str, bytes: &[u8]) -> Result<(), TufError> {
        if self.length.is_some_and(|length| length != bytes.len() as u64) {
            return Err(TufError::Digest {
                what: what.to_owned(),
                reason: "its length is not the signed one".to_owned(),
            });
        }
        let Some(hashes) = &self.hashes else { return Ok(()) };
        let mut hasher = Hashers::for_digests(what, hashes)?;
        hasher.update(bytes);
        hasher.finish(what)
    }
}

/// Digests of a file while it is read.
pub(super) struct Hashers {
    sha256: Option<(Sha256, Vec<u8>)>,
    sha512: Option<(Sha512, Vec<u8>)>,
}

impl Hashers {
    /// Prepares the digests of known algorithms.
    pub(super) fn for_digests(what: &str, hashes: &BTreeMap<String, String>) -> Result<Self, TufError> {
        let expected = |name: &str| -> Result<Option<Vec<u8>>, TufError> {
            let Some(text) = hashes.get(name) else {
                return Ok(None);
            };
            let malformed = || TufError::Digest {
                what: what.to_owned(),
                reason: format!("its {name} is not hex"),
            };
            Ok(Some(hex::decode(text).ok_or_else(malformed)?))
        };
        let sha256 = expected("sha256")?.map(|digest| (Sha256::new(), digest));
        let sha512 = expected("sha512")?.map(|digest| (Sha512::new(), digest));
        if sha256.is_none() && sha512.is_none() {
            return Err(TufError::Digest {
                what: what.to_owned(),
                reason: "no digest of a known algorithm".to_owned(),
            });
        }
        Ok(Self { sha256, sha512 })
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        if let Some((hasher, _)) = &mut self.sha256 {
            hasher.update(bytes);
        }
        if let Some((hasher, _)) = &mut self.sha512 {
            hasher.update(bytes);
        }
    }

    /// Compares every digest.
    pub(super) fn finish(self, what: &str) -> Result<(), TufError> {
        let differs = |name: &str| TufError::Digest {
            what: what.to_owned(),
            reason: format!("its {name} is not the signed one"),
        };
        if self
            .sha256
            .is_some_and(|(hasher, expected)| hasher.finalize()[..] != expected[..])
        {
            return Err(differs("sha256"));
        }
        if self
            .sha512
            .is_some_and(|(hasher, expected)| hasher.finalize()[..] != expected[..])
        {
            return Err(differs("sha512"));
        }
        Ok(())
    }
}

/// Returns the digest in a target's file name: the first known one, sha256 before others.
pub(super) fn name_digest(hashes: &BTreeMap<String, String>) -> Option<&str> {
    ["sha256", "sha512"]
        .iter()
        .find_map(|name| hashes.get(*name))
        .map(String::as_str)
}
