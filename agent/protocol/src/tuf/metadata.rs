//! The four kinds of metadata: their shapes and what makes one consistent in itself.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::delegation::Delegations;
use super::digest::FileInfo;
use super::instant::Instant;
use super::key::Key;
use super::{RoleKeys, limits};

/// Key of a timestamp's metadata that holds the moment of its signing; unknown to TUF, and ignored by its
/// clients.
pub const SIGNED_AT_KEY: &str = "x-iottly-signed";

/// Kind of metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Keys of all top-level roles.
    Root,
    /// Current snapshot.
    Timestamp,
    /// Current targets metadata.
    Snapshot,
    /// Files of the repository.
    Targets,
}

impl Kind {
    /// Returns the kind's name, which is also its role's.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Timestamp => "timestamp",
            Self::Snapshot => "snapshot",
            Self::Targets => "targets",
        }
    }
}

/// Common start of every kind of metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Kind of metadata.
    #[serde(rename = "_type")]
    pub kind: Kind,
    /// Version of the specification, `1.x.y`.
    pub spec_version: String,
    /// Version of the metadata, rising from 1.
    pub version: u64,
    /// First moment at which the metadata is not valid any more.
    pub expires: Instant,
}

impl Header {
    /// Returns a header of this specification.
    #[must_use]
    pub fn new(kind: Kind, version: u64, expires: Instant) -> Self {
        Self {
            kind,
            spec_version: "1.0.31".to_owned(),
            version,
            expires,
        }
    }
}

/// Content of one kind of metadata.
pub(super) trait Payload: DeserializeOwned {
    const KIND: Kind;
    fn header(&self) -> &Header;
    /// Checks the consistency beyond the shape.
    fn check(&self) -> Result<(), String>;
}

/// Keys of all top-level roles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Root {
    /// Kind, version, expiry.
    #[serde(flatten)]
    pub header: Header,
    /// True if file names carry versions and digests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistent_snapshot: Option<bool>,
    /// All keys by id.
    pub keys: BTreeMap<String, Key>,
    /// Top-level roles.
    pub roles: BTreeMap<String, RoleKeys>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

impl Root {
    /// Returns the keys of a top-level role.
    ///
    /// # Panics
    /// Never for a root that was parsed: the four roles are checked then.
    #[must_use]
    pub fn role(&self, kind: Kind) -> &RoleKeys {
        self.roles
            .get(kind.as_str())
            .expect("a root names its four roles, checked when it is read")
    }
}

impl Payload for Root {
    const KIND: Kind = Kind::Root;

    fn header(&self) -> &Header {
        &self.header
    }

    fn check(&self) -> Result<(), String> {
        for kind in [Kind::Root, Kind::Timestamp, Kind::Snapshot, Kind::Targets] {
            let role = self
                .roles
                .get(kind.as_str())
                .ok_or_else(|| format!("role {} is missing", kind.as_str()))?;
            role.check()?;
        }
        Ok(())
    }
}

/// Current snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timestamp {
    /// Kind, version, expiry.
    #[serde(flatten)]
    pub header: Header,
    /// Single entry, `snapshot.json`.
    pub meta: BTreeMap<String, FileInfo>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

impl Timestamp {
    /// Returns the description of the current snapshot.
    ///
    /// # Panics
    /// Never for a timestamp that was parsed: the entry is checked then.
    #[must_use]
    pub fn snapshot(&self) -> &FileInfo {
        self.meta
            .get("snapshot.json")
            .expect("a timestamp names the snapshot, checked when it is read")
    }

    /// Returns the moment of the signing if the timestamp names one before its expiry.
    #[must_use]
    pub fn signed_at(&self) -> Option<Instant> {
        let moment: Instant = self.extra.get(SIGNED_AT_KEY)?.as_str()?.parse().ok()?;
        (moment < self.header.expires).then_some(moment)
    }
}

impl Payload for Timestamp {
    const KIND: Kind = Kind::Timestamp;

    fn header(&self) -> &Header {
        &self.header
    }

    fn check(&self) -> Result<(), String> {
        if self.meta.len() != 1 || !self.meta.contains_key("snapshot.json") {
            return Err("meta is not snapshot.json alone".to_owned());
        }
        check_files(&self.meta)
    }
}

/// Current targets metadata.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Kind, version, expiry.
    #[serde(flatten)]
    pub header: Header,
    /// `targets.json` and the files of delegated roles.
    pub meta: BTreeMap<String, FileInfo>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

impl Payload for Snapshot {
    const KIND: Kind = Kind::Snapshot;

    fn header(&self) -> &Header {
        &self.header
    }

    fn check(&self) -> Result<(), String> {
        if !self.meta.contains_key("targets.json") {
            return Err("meta does not name targets.json".to_owned());
        }
        check_files(&self.meta)
    }
}

fn check_files(meta: &BTreeMap<String, FileInfo>) -> Result<(), String> {
    for (name, info) in meta {
        if info.version == 0 {
            return Err(format!("{name:?} has version 0"));
        }
        if info.hashes.as_ref().is_some_and(BTreeMap::is_empty) {
            return Err(format!("{name:?} has an empty list of digests"));
        }
    }
    Ok(())
}

/// Files of the repository, as one role describes them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Targets {
    /// Kind, version, expiry.
    #[serde(flatten)]
    pub header: Header,
    /// Files by path.
    pub targets: BTreeMap<String, TargetFile>,
    /// Delegations to other roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegations: Option<Delegations>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

impl Payload for Targets {
    const KIND: Kind = Kind::Targets;

    fn header(&self) -> &Header {
        &self.header
    }

    fn check(&self) -> Result<(), String> {
        if let Some((path, _)) = self
            .targets
            .iter()
            .find(|(path, file)| path.is_empty() || path.len() > limits::NAME_BYTES || file.hashes.is_empty())
        {
            return Err(format!(
                "target {:?} has no digest or a name of a length that is not allowed",
                crate::limits::clip(path, 64)
            ));
        }
        self.delegations.as_ref().map_or(Ok(()), Delegations::check)
    }
}

/// Signed description of a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TargetFile {
    /// Length in bytes.
    pub length: u64,
    /// Digests by algorithm, hex.
    pub hashes: BTreeMap<String, String>,
    /// Custom metadata of the signer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<Value>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

impl TargetFile {
    /// Returns the description of some bytes: length and sha256.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let hashes = BTreeMap::from([("sha256".to_owned(), super::sha256_hex(bytes))]);
        Self {
            length: bytes.len() as u64,
            hashes,
            custom: None,
            extra: BTreeMap::new(),
        }
    }
}
