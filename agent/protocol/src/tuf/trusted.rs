//! What is trusted, and what may be trusted next: the specification's checks without any I/O. Numbers are
//! those of its section 5, "Detailed client workflow".

use std::collections::BTreeMap;
use std::sync::Arc;

use super::delegation::Asked;
use super::digest::FileInfo;
use super::envelope::Unverified;
use super::instant::Instant;
use super::key::{Key, Schemes};
use super::metadata::{Header, Kind, Root, Snapshot, TargetFile, Targets, Timestamp};
use super::{RoleKeys, TufError};

/// What became of a timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampNews {
    /// It is newer than the one that was trusted, or the first: keep it.
    Newer,
    /// It has the version that is trusted already: the trusted one stays.
    Same,
}

/// Metadata that has passed every check, with the time of the update that it belongs to.
#[derive(Debug, Clone)]
pub struct Trusted {
    schemes: Schemes,
    /// 5.1: the moment that is now for the whole update.
    start: Instant,
    root: Root,
    timestamp: Option<Timestamp>,
    snapshot: Option<Snapshot>,
    /// By role and by the role that delegated to it.
    targets: BTreeMap<(String, String), Arc<Targets>>,
}

impl Trusted {
    /// 5.2: begins with a root that is trusted because it lies on the device. It may have expired.
    ///
    /// # Errors
    /// When it is malformed or not signed by its own keys.
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

    /// The trusted root.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The trusted timestamp, once there is one.
    #[must_use]
    pub fn timestamp(&self) -> Option<&Timestamp> {
        self.timestamp.as_ref()
    }

    /// The trusted snapshot, once there is one.
    #[must_use]
    pub fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    /// The moment that is now for this update.
    #[must_use]
    pub fn start(&self) -> Instant {
        self.start
    }

    /// 5.3.4 to 5.3.7: takes the next root; says whether timestamp or snapshot have lost a key (5.3.11).
    ///
    /// # Errors
    /// When the old or the new keys have not signed it, or its version is not the next one.
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
        // 5.3.7: that an intermediate root has expired does not matter.
        let next = next.into_payload();
        let rotated = [Kind::Timestamp, Kind::Snapshot]
            .iter()
            .any(|kind| lost_a_key(&self.root, &next, *kind));
        self.root = next;
        Ok(rotated)
    }

    /// 5.3.10: the last root of the chain must not have expired.
    ///
    /// # Errors
    /// When it has.
    pub fn finish_root(&self) -> Result<(), TufError> {
        self.unexpired("root", &self.root.header)
    }

    /// Brings in the timestamp of an earlier update, against which the next one is held. It may have expired.
    ///
    /// # Errors
    /// When the root's keys have not signed it.
    pub fn load_timestamp(&mut self, bytes: &[u8]) -> Result<(), TufError> {
        self.timestamp = Some(self.top_level::<Timestamp>(bytes)?);
        Ok(())
    }

    /// 5.4.2 to 5.4.4: takes a timestamp.
    ///
    /// # Errors
    /// When it is not signed, older than the trusted one, names an older snapshot, or has expired.
    pub fn update_timestamp(&mut self, bytes: &[u8]) -> Result<TimestampNews, TufError> {
        // 5.4.2
        let next = self.top_level::<Timestamp>(bytes)?;
        if let Some(trusted) = &self.timestamp {
            // 5.4.3.1
            let (old, new) = (trusted.header.version, next.header.version);
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
            let (old, new) = (trusted.snapshot().version, next.snapshot().version);
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

    /// Brings in the snapshot of an earlier update; says whether it is still the current one.
    ///
    /// # Errors
    /// When the root's keys have not signed it.
    pub fn load_snapshot(&mut self, bytes: &[u8]) -> Result<bool, TufError> {
        let snapshot = self.top_level::<Snapshot>(bytes)?;
        let info = self.snapshot_info();
        let current = snapshot.header.version == info.version
            && info.check("snapshot", bytes).is_ok()
            && self.unexpired("snapshot", &snapshot.header).is_ok();
        self.snapshot = Some(snapshot);
        Ok(current)
    }

    /// 5.5.2 to 5.5.6: takes the snapshot that the timestamp names.
    ///
    /// # Errors
    /// When it is not the one that the timestamp names, not signed, forgets or takes back a file, or has
    /// expired.
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

    /// What the timestamp says about the snapshot.
    ///
    /// # Panics
    /// When there is no timestamp yet: the client asks in the workflow's order.
    pub(super) fn snapshot_info(&self) -> &FileInfo {
        self.timestamp
            .as_ref()
            .expect("the timestamp is taken before the snapshot")
            .snapshot()
    }

    /// What the snapshot says about a role's targets metadata.
    ///
    /// # Errors
    /// When it says nothing.
    pub fn targets_info(&self, role: &str) -> Result<&FileInfo, TufError> {
        let info = self
            .snapshot
            .as_ref()
            .and_then(|snapshot| snapshot.meta.get(&format!("{role}.json")));
        info.ok_or_else(|| TufError::NotInSnapshot {
            role: role.to_owned(),
        })
    }

    /// Targets metadata of a role that was verified against this delegator.
    #[must_use]
    pub fn targets(&self, role: &str, delegator: &str) -> Option<Arc<Targets>> {
        self.targets
            .get(&(role.to_owned(), delegator.to_owned()))
            .map(Arc::clone)
    }

    /// 5.6.2 to 5.6.5: takes a role's targets metadata, `targets` by `root` or a delegated role by its
    /// delegator. What was stored earlier passes the same checks, against the delegator that is asked now.
    ///
    /// # Errors
    /// When it is not the file that the snapshot names, not signed by the keys that the delegator names, or
    /// has expired.
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

/// Says whether a key that a role had is not the role's any more. A key that is only added takes no trust
/// away.
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

/// One role in the search for a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) role: String,
    pub(super) delegator: String,
}

/// 5.6.7: the search for a target, depth first in the order of the delegations.
#[derive(Debug)]
pub(super) struct Search {
    path: String,
    visited: Vec<String>,
    /// The last is asked next.
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

    /// The role whose metadata is needed next; none at the end of the search.
    pub(super) fn next(&mut self) -> Option<Step> {
        // 5.6.7.1: no role is asked twice, and only so many are asked at all.
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

    /// Looks into the metadata of the role that was asked for.
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
        // 5.6.7.2.1: behind a terminating role nothing else is asked.
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
