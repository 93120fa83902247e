use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::delegation::Delegations;
use super::digest::FileInfo;
use super::instant::Instant;
use super::key::Key;
use super::{RoleKeys, limits};

/// The key of a timestamp's metadata under which the moment of its signing stands; unknown to TUF, and
/// ignored by its clients.
pub const SIGNED_AT_KEY: &str = "x-iottly-signed";

/// What kind of metadata a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Who may sign what.
    Root,
    /// Which snapshot is current.
    Timestamp,
    /// Which targets metadata is current.
    Snapshot,
    /// What files there are.
    Targets,
}

impl Kind {
    /// The kind's name, which is also its role's.
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

/// What every kind of metadata begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The kind.
    #[serde(rename = "_type")]
    pub kind: Kind,
    /// The specification that it follows, `1.x.y`.
    pub spec_version: String,
    /// From 1, rising.
    pub version: u64,
    /// The moment from which it is worth nothing.
    pub expires: Instant,
}

impl Header {
    /// A header of this specification.
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

/// A kind of metadata.
pub(super) trait Payload: DeserializeOwned {
    const KIND: Kind;
    fn header(&self) -> &Header;
    /// What is wrong with it beyond its shape.
    fn check(&self) -> Result<(), String>;
}

/// Who may sign what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Root {
    /// Kind, version, expiry.
    #[serde(flatten)]
    pub header: Header,
    /// Whether file names carry versions and digests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistent_snapshot: Option<bool>,
    /// All keys by id.
    pub keys: BTreeMap<String, Key>,
    /// The top-level roles.
    pub roles: BTreeMap<String, RoleKeys>,
    /// Fields that are not known here.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

impl Root {
    /// The keys of a top-level role.
    ///
    /// # Panics
    /// Never for a root that was read: the four roles are checked then.
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
                .ok_or_else(|| format!("there is no role {}", kind.as_str()))?;
            role.check()?;
        }
        Ok(())
    }
}

/// Which snapshot is current.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timestamp {
    /// Kind, version, expiry.
    #[serde(flatten)]
    pub header: Header,
    /// One entry, `snapshot.json`.
    pub meta: BTreeMap<String, FileInfo>,
    /// Fields that are not known here.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

impl Timestamp {
    /// The current snapshot.
    ///
    /// # Panics
    /// Never for a timestamp that was read: the entry is checked then.
    #[must_use]
    pub fn snapshot(&self) -> &FileInfo {
        self.meta
            .get("snapshot.json")
            .expect("a timestamp names the snapshot, checked when it is read")
    }

    /// The moment at which it was signed, if it says so and did not end before.
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

/// Which targets metadata is current.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Kind, version, expiry.
    #[serde(flatten)]
    pub header: Header,
    /// `targets.json` and the files of delegated roles.
    pub meta: BTreeMap<String, FileInfo>,
    /// Fields that are not known here.
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

/// What files there are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Targets {
    /// Kind, version, expiry.
    #[serde(flatten)]
    pub header: Header,
    /// The files by path.
    pub targets: BTreeMap<String, TargetFile>,
    /// Who else may describe files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegations: Option<Delegations>,
    /// Fields that are not known here.
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

/// A file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TargetFile {
    /// Its length, bytes.
    pub length: u64,
    /// Its digests by algorithm, hex.
    pub hashes: BTreeMap<String, String>,
    /// What its signer says about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<Value>,
    /// Fields that are not known here.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

impl TargetFile {
    /// Describes bytes by length and sha256.
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
