//! A TUF repository of releases in a folder: init, add, publish, rotate keys. The keys are stored elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use iottly_protocol::release::{ROLES_KEY, Release, developer_role, directive_role};
use iottly_protocol::tuf::limits::TARGETS_BYTES;
use iottly_protocol::tuf::{
    FileInfo, Header, Instant, Key, Kind, RoleKeys, Root, SIGNED_AT_KEY, SigningKey, Snapshot, Targets,
    Timestamp, sha256_hex, sign,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::draft::{Draft, NewRelease};
use super::keys::DEVELOPER;
use super::{KeyFolder, ReleaseError, files, prune};

/// Field of a timestamp with the version of the root under which it was signed. A newer root without a newer timestamp is one
/// below which the other metadata was not signed again yet.
pub(super) const UNDER_ROOT_KEY: &str = "x-iottly-root";

/// Number of seconds of a day.
pub(super) const DAY: u64 = 86_400;

/// Validity of signed metadata, in days.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// Validity of root metadata, in days.
    pub root: u64,
    /// Validity of targets metadata, in days.
    pub targets: u64,
    /// Validity of snapshot metadata, in days.
    pub snapshot: u64,
    /// Validity of timestamp metadata, in days.
    pub timestamp: u64,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            root: 365,
            targets: 120,
            snapshot: 7,
            timestamp: 1,
        }
    }
}

/// A release that was added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Added {
    /// Path of the target.
    pub path: String,
    /// Number of the release.
    pub release_seq: u64,
    /// sha256 of the component, hex.
    pub sha256: String,
    /// Size of the component, in bytes.
    pub size: u64,
}

/// A repository in a folder.
#[derive(Debug)]
pub struct ReleaseRepository {
    pub(super) path: PathBuf,
    pub(super) lifetimes: Lifetimes,
}

impl ReleaseRepository {
    /// Uses a folder.
    #[must_use]
    pub fn new(path: &Path, lifetimes: Lifetimes) -> Self {
        Self {
            path: path.to_owned(),
            lifetimes,
        }
    }

    /// Creates an empty repository, and the keys that are missing. All keys of a role are used; `threshold`
    /// of the root's and the targets' keys must sign.
    ///
    /// # Errors
    /// If there is a repository already, or a file cannot be written.
    pub fn init(&self, keys: &KeyFolder, threshold: u64, now: Instant) -> Result<Root, ReleaseError> {
        if self.root_path(1).exists() {
            return Err(ReleaseError::Input(format!(
                "{} is a repository already",
                self.path.display()
            )));
        }
        let mut root = Root {
            header: Header::new(Kind::Root, 1, now.plus(self.lifetimes.root * DAY)),
            consistent_snapshot: Some(true),
            keys: BTreeMap::new(),
            roles: BTreeMap::new(),
            extra: BTreeMap::new(),
        };
        for role in super::ROLES {
            let need = if matches!(role, "root" | "targets") {
                threshold
            } else {
                1
            };
            let mut signers = keys.of(role).or_else(|error| match error {
                ReleaseError::NoKey { .. } => Ok(Vec::new()),
                other => Err(other),
            })?;
            while (signers.len() as u64) < need.max(1) {
                signers.push(keys.make(role)?);
            }
            name_keys(&mut root, role, &signers, need);
        }
        self.put("root", 1, &root, &keys.of("root")?)?;
        self.finish(keys, now)?;
        Ok(root)
    }

    /// Writes the missing files of a repository that has a root but no timestamp yet.
    pub(super) fn finish(&self, keys: &KeyFolder, now: Instant) -> Result<(), ReleaseError> {
        if let Some(last) = self.newest("targets")? {
            return self.publish_above(last, keys, now);
        }
        let header = Header::new(Kind::Targets, 0, now.plus(self.lifetimes.targets * DAY));
        self.publish(
            Targets {
                header,
                targets: BTreeMap::new(),
                delegations: None,
                extra: BTreeMap::new(),
            },
            keys,
            now,
        )
    }

    /// Replaces the keys of a role with all keys that the folder has for it now, in a new version of root.
    ///
    /// # Errors
    /// If a key is missing or a file cannot be written.
    pub fn rotate(
        &self,
        role: &str,
        old_root: &KeyFolder,
        keys: &KeyFolder,
        now: Instant,
    ) -> Result<u64, ReleaseError> {
        let mut root = self.root()?;
        let need = match role {
            "directive" | DEVELOPER => 1,
            _ => root.roles.get(role).map_or(1, |keys| keys.threshold),
        };
        name_keys(&mut root, role, &keys.of(role)?, need);
        root.header.version += 1;
        root.header.expires = now.plus(self.lifetimes.root * DAY);
        let mut signers = old_root.of("root")?;
        if role == "root" {
            signers.extend(keys.of("root")?);
        }
        signers.sort_by_key(|key| key.public().id());
        signers.dedup_by_key(|key| key.public().id());
        self.put("root", root.header.version, &root, &signers)?;
        Ok(root.header.version)
    }

    /// Adds a release and publishes it.
    ///
    /// # Errors
    /// If the component is too large, a key is missing, or a file cannot be written.
    pub fn add(&self, new: &NewRelease, keys: &KeyFolder, now: Instant) -> Result<Added, ReleaseError> {
        self.add_above(0, None, new, keys, now)
    }

    /// Adds a release with a number above `last` and above those in the repository, and publishes it. With
    /// `needed`, the same metadata leaves out the releases that are neither needed nor among the newest, so
    /// that its size does not grow with the number of releases.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn add_above(
        &self,
        last: u64,
        needed: Option<&BTreeSet<u64>>,
        new: &NewRelease,
        keys: &KeyFolder,
        now: Instant,
    ) -> Result<Added, ReleaseError> {
        let mut targets = self.targets()?;
        let newest = self
            .releases(&targets)
            .map(|release| release.manifest.release_seq)
            .max()
            .unwrap_or(0);
        let Draft {
            path,
            file,
            list,
            brought,
            release,
        } = Draft::new(new, newest.max(last) + 1, now)?;
        let served = self.served(&path, &file);
        targets.targets.insert(path.clone(), file);
        if let Some(engine) = &brought {
            engine.list_in(&mut targets);
        }
        if let Some(needed) = needed {
            prune::leave_out(&mut targets, prune::KEPT_RELEASES, needed);
        }
        // Sign before writing any file, so that a release that devices would refuse leaves nothing behind.
        let signed = self.sign_targets(targets, keys, now)?;
        if let Some(engine) = &brought {
            engine.write(self)?;
        }
        files::replace(&served, &new.content, 0o644)?;
        files::replace(
            &self
                .path
                .join("targets/chunks")
                .join(&release.manifest.chunk_root),
            &list.encode(),
            0o644,
        )?;
        self.publish_signed(signed, keys, now)?;
        let release_seq = release.manifest.release_seq;
        Ok(Added {
            path,
            release_seq,
            sha256: release.sha256,
            size: release.size,
        })
    }

    /// Re-signs snapshot and timestamp, so that devices know that no newer metadata is withheld from them.
    ///
    /// # Errors
    /// If a key is missing or a file cannot be written.
    pub fn refresh(&self, keys: &KeyFolder, now: Instant) -> Result<(), ReleaseError> {
        let targets = self.targets()?;
        if self.is_behind_root() {
            return self.publish(targets, keys, now);
        }
        self.publish_above(targets.header.version, keys, now)
    }

    /// Returns the releases in the repository, by path.
    ///
    /// # Errors
    /// If the repository does not exist.
    pub fn list(&self) -> Result<Vec<Release>, ReleaseError> {
        let targets = self.targets()?;
        Ok(self.releases(&targets).collect())
    }

    pub(super) fn release(&self, path: &str) -> Result<Release, ReleaseError> {
        let targets = self.targets()?;
        let file = targets
            .targets
            .get(path)
            .ok_or_else(|| ReleaseError::Input(format!("release {path} does not exist")))?;
        Release::from_target(path, file).map_err(ReleaseError::Input)
    }

    /// Returns the bytes of a release, verified against the signed hash.
    pub(super) fn content(&self, path: &str) -> Result<Vec<u8>, ReleaseError> {
        let missing = || ReleaseError::Input(format!("release {path} does not exist"));
        let file = self.targets()?.targets.remove(path).ok_or_else(missing)?;
        let sha256 = file.hashes.get("sha256").cloned().unwrap_or_default();
        let served = self.served(path, &file);
        let content = files::read(&served)?.ok_or_else(missing)?;
        if sha256_hex(&content).eq_ignore_ascii_case(&sha256) {
            return Ok(content);
        }
        Err(ReleaseError::invalid(&served, "is not what was signed"))
    }

    fn releases(&self, targets: &Targets) -> impl Iterator<Item = Release> {
        let releases: Vec<_> = targets
            .targets
            .iter()
            .filter_map(|(path, file)| Release::from_target(path, file).ok())
            .collect();
        releases.into_iter()
    }

    /// Signs the next version of targets, then the metadata that names it. Each file is written before
    /// another one names it.
    pub(super) fn publish(
        &self,
        targets: Targets,
        keys: &KeyFolder,
        now: Instant,
    ) -> Result<(), ReleaseError> {
        self.publish_signed(self.sign_targets(targets, keys, now)?, keys, now)
    }

    /// Signs the next version of targets; refuses metadata longer than devices read.
    fn sign_targets(
        &self,
        mut targets: Targets,
        keys: &KeyFolder,
        now: Instant,
    ) -> Result<(u64, Vec<u8>), ReleaseError> {
        targets.header.version += 1;
        targets.header.expires = now.plus(self.lifetimes.targets * DAY);
        let signed = signed(&targets, &self.signers("targets", keys)?)?;
        if signed.len() as u64 > TARGETS_BYTES {
            return Err(ReleaseError::TooMany {
                bytes: signed.len(),
                max: TARGETS_BYTES,
            });
        }
        Ok((targets.header.version, signed))
    }

    fn publish_signed(
        &self,
        (version, targets): (u64, Vec<u8>),
        keys: &KeyFolder,
        now: Instant,
    ) -> Result<(), ReleaseError> {
        files::replace(
            &self.path.join(format!("metadata/{version}.targets.json")),
            &targets,
            0o644,
        )?;
        self.publish_above(version, keys, now)
    }

    fn publish_above(&self, targets: u64, keys: &KeyFolder, now: Instant) -> Result<(), ReleaseError> {
        let earlier: Option<Timestamp> = self.signed("timestamp.json")?;
        let version = earlier
            .as_ref()
            .map_or(1, |timestamp| timestamp.header.version + 1);
        let snapshot_version = earlier
            .as_ref()
            .map_or(1, |timestamp| timestamp.snapshot().version + 1);
        let snapshot = Snapshot {
            header: Header::new(
                Kind::Snapshot,
                snapshot_version,
                now.plus(self.lifetimes.snapshot * DAY),
            ),
            meta: BTreeMap::from([("targets.json".to_owned(), FileInfo::of_version(targets))]),
            extra: BTreeMap::new(),
        };
        self.put(
            "snapshot",
            snapshot_version,
            &snapshot,
            &self.signers("snapshot", keys)?,
        )?;
        let timestamp = Timestamp {
            header: Header::new(Kind::Timestamp, version, now.plus(self.lifetimes.timestamp * DAY)),
            meta: BTreeMap::from([("snapshot.json".to_owned(), FileInfo::of_version(snapshot_version))]),
            extra: BTreeMap::from([
                (SIGNED_AT_KEY.to_owned(), json!(now)),
                (UNDER_ROOT_KEY.to_owned(), json!(self.root()?.header.version)),
            ]),
        };
        self.put(
            "timestamp",
            version,
            &timestamp,
            &self.signers("timestamp", keys)?,
        )
    }

    pub(super) fn put(
        &self,
        role: &str,
        version: u64,
        payload: &impl Serialize,
        keys: &[SigningKey],
    ) -> Result<(), ReleaseError> {
        let signed = signed(payload, keys)?;
        let name = if role == "timestamp" {
            "timestamp.json".to_owned()
        } else {
            format!("{version}.{role}.json")
        };
        files::replace(&self.path.join("metadata").join(name), &signed, 0o644)
    }

    pub(super) fn root_path(&self, version: u64) -> PathBuf {
        self.path.join(format!("metadata/{version}.root.json"))
    }

    /// Returns the highest version of a role's metadata in the folder.
    fn newest(&self, role: &str) -> Result<Option<u64>, ReleaseError> {
        let (mut newest, end) = (None, format!(".{role}.json"));
        prune::files_below(&self.path.join("metadata"), &mut |path| {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            newest = newest.max(name.strip_suffix(&end).and_then(|version| version.parse().ok()));
        })?;
        Ok(newest)
    }

    pub(super) fn snapshot_version(&self) -> Result<u64, ReleaseError> {
        let timestamp: Timestamp = self.needed("timestamp.json")?;
        Ok(timestamp.snapshot().version)
    }

    pub(super) fn targets(&self) -> Result<Targets, ReleaseError> {
        let snapshot: Snapshot = self.needed(&format!("{}.snapshot.json", self.snapshot_version()?))?;
        let version = snapshot.meta.get("targets.json").map_or(1, |info| info.version);
        self.needed(&format!("{version}.targets.json"))
    }

    pub(super) fn needed<P: DeserializeOwned>(&self, name: &str) -> Result<P, ReleaseError> {
        let missing = || {
            ReleaseError::Input(format!(
                "{} is not a repository: metadata/{name} is missing",
                self.path.display()
            ))
        };
        self.signed(name)?.ok_or_else(missing)
    }

    /// Reads metadata that the cloud has signed itself.
    pub(super) fn signed<P: DeserializeOwned>(&self, name: &str) -> Result<Option<P>, ReleaseError> {
        let path = self.path.join("metadata").join(name);
        let Some(bytes) = files::read(&path)? else {
            return Ok(None);
        };
        let mut document: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|e| ReleaseError::invalid(&path, e))?;
        let signed = document["signed"].take();
        P::deserialize(signed)
            .map(Some)
            .map_err(|e| ReleaseError::invalid(&path, e))
    }
}

fn signed(payload: &impl Serialize, keys: &[SigningKey]) -> Result<Vec<u8>, ReleaseError> {
    sign(payload, &keys.iter().collect::<Vec<_>>()).map_err(|e| ReleaseError::Input(e.to_string()))
}

/// Names a role's keys in root; removes keys that no role names any more.
pub(super) fn name_keys(root: &mut Root, role: &str, signers: &[SigningKey], threshold: u64) {
    let keys: Vec<Key> = signers.iter().map(SigningKey::public).collect();
    name_public(root, role, &keys, threshold);
}

/// Names a role's keys in root; removes keys that no role names any more.
pub(super) fn name_public(root: &mut Root, role: &str, keys: &[Key], threshold: u64) {
    let ids: Vec<String> = keys.iter().map(Key::id).collect();
    let role_keys = RoleKeys::new(ids, threshold.max(1));
    if matches!(role, "directive" | DEVELOPER) {
        let roles = root
            .extra
            .entry(ROLES_KEY.to_owned())
            .or_insert_with(|| json!({}));
        if !roles.is_object() {
            *roles = json!({});
        }
        roles[role] = json!(role_keys);
    } else {
        root.roles.insert(role.to_owned(), role_keys);
    }
    root.keys.extend(keys.iter().map(|key| (key.id(), key.clone())));
    let named: Vec<String> = root.roles.values().flat_map(|keys| keys.keyids.clone()).collect();
    let others = [directive_role(root), developer_role(root)];
    let others: Vec<String> = others
        .into_iter()
        .flatten()
        .flat_map(|keys| keys.keyids)
        .collect();
    root.keys
        .retain(|id, _| named.contains(id) || others.contains(id));
}
