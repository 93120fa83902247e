//! Trusted metadata, and the specification's checks of what may be trusted next. No I/O. Numbers are those of
//! its section 5, "Detailed client workflow".

use std::collections::BTreeMap;
use std::sync::Arc;

use super::delegation::Asked;
use super::digest::FileInfo;
use super::envelope::Unverified;
use super::instant::Instant;
use super::key::{Key, Schemes};
use super::metadata::{Header, Kind, Root, Snapshot, TargetFile, Targets, Timestamp};
use super::{RoleKeys, TufError};

/// Result of offering a timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampNews {
    /// The timestamp is newer than the trusted one, or the first: the caller stores it.
    Newer,
    /// The timestamp has the version of the trusted one, which stays.
    Same,
}

/// Metadata that has passed every check, with the time of the update that it belongs to.
#[derive(Debug, Clone)]
pub struct Trusted {
    schemes: Schemes,
    /// Fixed "now" of the whole update (5.1).
    start: Instant,
    root: Root,
    timestamp: Option<Timestamp>,
    snapshot: Option<Snapshot>,
    /// Targets metadata by role and by the role that delegated to it.
    targets: BTreeMap<(String, String), Arc<Targets>>,
}

impl Trusted {
    /// Begins with a root that is trusted because it is stored on the device; it may have expired (5.2).
    ///
    /// # Errors
    /// The root is malformed or not signed by its own keys.
    pub fn new(root: &[u8], start: Instant, schemes: Schemes) -> Result<Self, TufError> {
        let root = Unverified::<Root>::parse("root", root)?;
        let own = root.peek();
        root.verified_by("root", own.role(Kind::Root), &own.keys, schemes)?;
        let root = root.into_payload();
        Ok(Self {
            schemes,
            start,
            root,
            timestamp: None,
            snapshot: None,
            targets: BTreeMap::new(),
        })
    }

    /// Returns the trusted root.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Returns the trusted timestamp, once there is one.
    #[must_use]
    pub fn timestamp(&self) -> Option<&Timestamp> {
        self.timestamp.as_ref()
    }

    /// Returns the trusted snapshot, once there is one.
    #[must_use]
    pub fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    /// Returns the fixed "now" of this update.
    #[must_use]
    pub fn start(&self) -> Instant {
        self.start
    }

    /// Accepts the next root (5.3.4 to 5.3.7); returns true if timestamp or snapshot have lost a key
    /// (5.3.11).
    ///
    /// # Errors
    /// The old or the new keys have not signed the root, or its version is not the next one.
    pub fn update_root(&mut self, bytes: &[u8]) -> Result<bool, TufError> {
        let next = Unverified::<Root>::parse("root", bytes)?;
        // 5.3.4: signed by a threshold of the trusted root's keys and by a threshold of its own.
        next.verified_by("root", self.root.role(Kind::Root), &self.root.keys, self.schemes)?;
        let own = next.peek();
        next.verified_by("root", own.role(Kind::Root), &own.keys, self.schemes)?;
        // 5.3.5: N+1 exactly.
        let expected = self.root.header.version.saturating_add(1);
        if own.header.version != expected {
            return Err(TufError::Version {
                role: "root".to_owned(),
                expected,
                got: own.header.version,
            });
        }
        // 5.3.7: an intermediate root may have expired.
        let next = next.into_payload();
        let rotated = [Kind::Timestamp, Kind::Snapshot]
            .iter()
            .any(|kind| lost_a_key(&self.root, &next, *kind));
        self.root = next;
        Ok(rotated)
    }

    /// Checks that the last root of the chain has not expired (5.3.10).
    ///
    /// # Errors
    /// The root has expired.
    pub fn finish_root(&self) -> Result<(), TufError> {
        self.unexpired("root", &self.root.header)
    }

    /// Loads the timestamp of an earlier update, for comparison with the next one. It may have expired.
    ///
    /// # Errors
    /// The root's keys have not signed the timestamp.
    pub fn load_timestamp(&mut self, bytes: &[u8]) -> Result<(), TufError> {
        self.timestamp = Some(self.top_level::<Timestamp>(bytes)?);
        Ok(())
    }

    /// Accepts a timestamp (5.4.2 to 5.4.4).
    ///
    /// # Errors
    /// The timestamp is not signed, is older than the trusted one, names an older snapshot, or has expired.
    pub fn update_timestamp(&mut self, bytes: &[u8]) -> Result<TimestampNews, TufError> {
        // 5.4.2
        let next = self.top_level::<Timestamp>(bytes)?;
        if let Some(trusted) = &self.timestamp {
            // 5.4.3.1
            let old = trusted.header.version;
            let new = next.header.version;
            if new < old {
                return Err(TufError::Rollback {
                    role: "timestamp".to_owned(),
                    trusted: old,
                    got: new,
                });
            }
            if new == old {
                self.finish_timestamp()?;
                return Ok(TimestampNews::Same);
            }
            // 5.4.3.2
            let old = trusted.snapshot().version;
            let new = next.snapshot().version;
            if new < old {
                return Err(TufError::Rollback {
                    role: "snapshot".to_owned(),
                    trusted: old,
                    got: new,
                });
            }
        }
        // 5.4.4
        self.unexpired("timestamp", &next.header)?;
        self.timestamp = Some(next);
        Ok(TimestampNews::Newer)
    }

    fn finish_timestamp(&self) -> Result<(), TufError> {
        self.timestamp
            .as_ref()
            .map_or(Ok(()), |timestamp| self.unexpired("timestamp", &timestamp.header))
    }

    /// Loads the snapshot of an earlier update; returns true if it is still the current one.
    ///
    /// # Errors
    /// The root's keys have not signed the snapshot.
    pub fn load_snapshot(&mut self, bytes: &[u8]) -> Result<bool, TufError> {
        let snapshot = self.top_level::<Snapshot>(bytes)?;
        let info = self.snapshot_info();
        let current = snapshot.header.version == info.version
            && info.check("snapshot", bytes).is_ok()
            && self.unexpired("snapshot", &snapshot.header).is_ok();
        self.snapshot = Some(snapshot);
        Ok(current)
    }

    /// Accepts the snapshot that the timestamp names (5.5.2 to 5.5.6).
    ///
    /// # Errors
    /// The snapshot is not the one that the timestamp names, is not signed, omits a file or names an older
    /// version of one, or has expired.
    pub fn update_snapshot(&mut self, bytes: &[u8]) -> Result<(), TufError> {
        let info = self.snapshot_info();
        // 5.5.2
        info.check("snapshot", bytes)?;
        // 5.5.3
        let next = self.top_level::<Snapshot>(bytes)?;
        // 5.5.4
        same_version("snapshot", info, &next.header)?;
        // 5.5.5
        for (file, old) in self.snapshot.iter().flat_map(|trusted| &trusted.meta) {
            let Some(new) = next.meta.get(file) else {
                return Err(TufError::Dropped { file: file.clone() });
            };
            if new.version < old.version {
                return Err(TufError::Rollback {
                    role: file.clone(),
                    trusted: old.version,
                    got: new.version,
                });
            }
        }
        // 5.5.6
        self.unexpired("snapshot", &next.header)?;
        self.snapshot = Some(next);
        Ok(())
    }

    /// Returns the timestamp's description of the snapshot.
    ///
    /// # Panics
    /// If no timestamp is trusted yet: the client calls in the workflow's order.
    pub(super) fn snapshot_info(&self) -> &FileInfo {
        self.timestamp
            .as_ref()
            .expect("the timestamp is taken before the snapshot")
            .snapshot()
    }

    /// Returns the snapshot's description of a role's targets metadata.
    ///
    /// # Errors
    /// The snapshot does not name the role.
    pub fn targets_info(&self, role: &str) -> Result<&FileInfo, TufError> {
        let info = self
            .snapshot
            .as_ref()
            .and_then(|snapshot| snapshot.meta.get(&format!("{role}.json")));
        info.ok_or_else(|| TufError::NotInSnapshot {
            role: role.to_owned(),
        })
    }

    /// Returns targets metadata of a role that was verified against this delegator.
    #[must_use]
    pub fn targets(&self, role: &str, delegator: &str) -> Option<Arc<Targets>> {
        self.targets
            .get(&(role.to_owned(), delegator.to_owned()))
            .map(Arc::clone)
    }

    /// Accepts a role's targets metadata (5.6.2 to 5.6.5): of `targets` by `root`, or of a delegated role by
    /// its delegator. Metadata that was stored earlier passes the same checks, against the current delegator.
    ///
    /// # Errors
    /// The metadata is not the file that the snapshot names, is not signed by the keys that the delegator
    /// names, or has expired.
    pub fn update_targets(
        &mut self,
        bytes: &[u8],
        role: &str,
        delegator: &str,
    ) -> Result<Arc<Targets>, TufError> {
        let info = self.targets_info(role)?;
        // 5.6.2
        info.check(role, bytes)?;
        // 5.6.3
        let next = Unverified::<Targets>::parse(role, bytes)?;
        let (role_keys, keys) = self.delegation(role, delegator)?;
        let next = next.verify(role, &role_keys, &keys, self.schemes)?;
        // 5.6.4
        same_version(role, info, &next.header)?;
        // 5.6.5
        self.unexpired(role, &next.header)?;
        let next = Arc::new(next);
        self.targets
            .insert((role.to_owned(), delegator.to_owned()), Arc::clone(&next));
        Ok(next)
    }

    fn delegation(&self, role: &str, delegator: &str) -> Result<(RoleKeys, BTreeMap<String, Key>), TufError> {
        if delegator == "root" {
            return Ok((self.root.role(Kind::Targets).clone(), self.root.keys.clone()));
        }
        // The delegator may itself be trusted under several delegators; all have verified the same file.
        let delegator = self
            .targets
            .iter()
            .find(|((name, _), _)| name == delegator)
            .map(|(_, targets)| targets);
        let delegations = delegator.and_then(|targets| targets.delegations.as_ref());
        let found = delegations
            .and_then(|delegations| Some((delegations.role_keys(role)?, delegations.keys.clone())));
        found.ok_or_else(|| TufError::NotInSnapshot {
            role: role.to_owned(),
        })
    }

    fn top_level<P: super::metadata::Payload>(&self, bytes: &[u8]) -> Result<P, TufError> {
        let name = P::KIND.as_str();
        Unverified::<P>::parse(name, bytes)?.verify(
            name,
            self.root.role(P::KIND),
            &self.root.keys,
            self.schemes,
        )
    }

    fn unexpired(&self, role: &str, header: &Header) -> Result<(), TufError> {
        if header.expires <= self.start {
            return Err(TufError::Expired {
                role: role.to_owned(),
                at: header.expires,
            });
        }
        Ok(())
    }
}

fn same_version(role: &str, info: &FileInfo, header: &Header) -> Result<(), TufError> {
    if header.version != info.version {
        return Err(TufError::Version {
            role: role.to_owned(),
            expected: info.version,
            got: header.version,
        });
    }
    Ok(())
}

/// Returns true if a key of a role is not a key of it any more. An added key takes no trust away.
fn lost_a_key(old: &Root, new: &Root, kind: Kind) -> bool {
    let keys = |root: &Root| -> Vec<Key> {
        root.role(kind)
            .keyids
            .iter()
            .filter_map(|id| root.keys.get(id))
            .cloned()
            .collect()
    };
    let new = keys(new);
    keys(old).iter().any(|key| {
        !new.iter()
            .any(|other| other.keyval.public == key.keyval.public && other.scheme == key.scheme)
    })
}

/// Role in the search for a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) role: String,
    pub(super) delegator: String,
}

/// Search for a target, depth first in the order of the delegations (5.6.7).
#[derive(Debug)]
pub(super) struct Search {
    path: String,
    visited: Vec<String>,
    /// Roles still to search; the last is next.
    open: Vec<Step>,
}

impl Search {
    pub(super) fn new(path: &str) -> Self {
        let first = Step {
            role: "targets".to_owned(),
            delegator: "root".to_owned(),
        };
        Self {
            path: path.to_owned(),
            visited: Vec::new(),
            open: vec![first],
        }
    }

    /// Returns the role whose metadata is needed next; none at the end of the search.
    pub(super) fn next(&mut self) -> Option<Step> {
        // 5.6.7.1: no role is searched twice, and their number is limited.
        if self.visited.len() > super::limits::DELEGATIONS {
            return None;
        }
        loop {
            let step = self.open.pop()?;
            if !self.visited.contains(&step.role) {
                return Some(step);
            }
        }
    }

    /// Searches the metadata of the role that [`Search::next`] returned.
    pub(super) fn look(&mut self, role: &str, targets: &Targets) -> Option<TargetFile> {
        self.visited.push(role.to_owned());
        if let Some(file) = targets.targets.get(&self.path) {
            return Some(file.clone());
        }
        let asked = targets
            .delegations
            .as_ref()
            .map(|delegations| delegations.for_path(&self.path))
            .unwrap_or_default();
        // 5.6.7.2.1: no role after a terminating one is searched.
        if asked.last().is_some_and(|asked| asked.terminating) {
            self.open.clear();
        }
        self.open
            .extend(asked.into_iter().rev().map(|Asked { name, .. }| Step {
                role: name,
                delegator: role.to_owned(),
            }));
        None
    }
}
