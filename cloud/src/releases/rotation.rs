//! Rotation and revocation of the keys of a project, and the next root where its keys are kept elsewhere.

use std::collections::BTreeSet;

use iottly_protocol::ProjectId;
use iottly_protocol::release::{developer_role, directive_role};
use iottly_protocol::tuf::limits::ROOT_BYTES;
use iottly_protocol::tuf::{Instant, Key, RoleKeys, Root, Schemes, Trusted, sign};

use super::keys::{DEVELOPER, ROLES};
use super::repository::{DAY, name_public};
use super::{KeyFolder, ReleaseError, ReleaseRepositories, ReleaseRepository, locks};

/// Role of the keys that sign roots.
const ROOT: &str = "root";

/// Key of a role that came or went with a root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RoleKey {
    /// The role.
    pub role: String,
    /// Id of the key, in hex.
    pub key: String,
}

/// Root that was published, and what it changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedRoot {
    /// Version of the root.
    pub version: u64,
    /// Keys that it names and the root before did not.
    pub added: Vec<RoleKey>,
    /// Keys that the root before named and it does not.
    pub removed: Vec<RoleKey>,
}

/// Returns keys and threshold of a role; none if the root does not name the role.
#[must_use]
pub fn role_of(root: &Root, role: &str) -> Option<RoleKeys> {
    match role {
        "directive" => directive_role(root),
        DEVELOPER => developer_role(root),
        role => root.roles.get(role).cloned(),
    }
}

fn refused(reason: impl Into<String>) -> ReleaseError {
    ReleaseError::Refused(reason.into())
}

fn known(role: &str) -> Result<(), ReleaseError> {
    if ROLES.contains(&role) {
        return Ok(());
    }
    Err(refused(format!("{role:?} is not a role: {}", ROLES.join(", "))))
}

impl ReleaseRepositories {
    /// Replaces all keys of a role with new ones, in a new root that is published, and deletes the old keys.
    ///
    /// # Errors
    /// [`ReleaseError::Refused`] if the role is unknown or the root's keys are not in this cloud; or a file cannot be read or
    /// written.
    pub fn rotate_role(
        &self,
        project: ProjectId,
        role: &str,
        now: Instant,
    ) -> Result<PublishedRoot, ReleaseError> {
        known(role)?;
        self.replace(project, now, |of, _| of == role)
    }

    /// Removes a key from all roles, in a new root that is published, and deletes it. A role that has too few keys left gets
    /// new ones.
    ///
    /// # Errors
    /// [`ReleaseError::Refused`] if the root does not name the key or the root's keys are not in this cloud; or a file cannot
    /// be read or written.
    pub fn revoke_key(
        &self,
        project: ProjectId,
        key: &str,
        now: Instant,
    ) -> Result<PublishedRoot, ReleaseError> {
        self.replace(project, now, |_, id| id == key)
    }

    /// Returns the next root without signatures, in which a new key of this cloud takes over a role: to be signed where the
    /// root's keys are, and to be published then. The key signs nothing before.
    ///
    /// # Errors
    /// [`ReleaseError::Refused`] if the role is unknown or has keys that are never here; or a file cannot be read or written.
    pub fn propose(&self, project: ProjectId, role: &str, now: Instant) -> Result<Vec<u8>, ReleaseError> {
        known(role)?;
        if role == ROOT {
            return Err(refused(
                "keys of root are made where the root is signed: iottly key new root, then iottly key rotate root",
            ));
        }
        let lock = self.locks.of(project);
        let _turn = locks::wait(&lock);
        self.prepare(project, now)?;
        let (repository, keys) = (self.repository(project), self.keys(project)?);
        let root = repository.root()?;
        let (named, threshold) = named(&root, role);
        // One that was proposed before and never published is proposed again.
        let mut fresh: Vec<Key> = match keys.of(role) {
            Ok(held) => held.iter().map(|key| key.public()).collect(),
            Err(ReleaseError::NoKey { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        // A key that an earlier root has named was replaced or revoked: it must not come back.
        let roots = repository.roots()?;
        let was_named = |id: &String| roots.iter().any(|root| root.keys.contains_key(id));
        fresh.retain(|key| !named.contains(&key.id()) && !was_named(&key.id()));
        while (fresh.len() as u64) < threshold {
            fresh.push(keys.make(role)?.public());
        }
        let next = next_root(&root, repository.lifetimes.root, now, |next| {
            name_public(next, role, &fresh, threshold);
        });
        sign(&next, &[]).map_err(|error| ReleaseError::Input(error.to_string()))
    }

    /// Publishes a root that was signed elsewhere. It is verified as a device verifies it, by the root before.
    ///
    /// # Errors
    /// [`ReleaseError::Refused`] if devices would refuse it, or this cloud could not sign releases under it; or a file cannot
    /// be read or written.
    pub fn publish_root(
        &self,
        project: ProjectId,
        document: &[u8],
        now: Instant,
    ) -> Result<PublishedRoot, ReleaseError> {
        let lock = self.locks.of(project);
        let _turn = locks::wait(&lock);
        self.prepare(project, now)?;
        self.install(project, document, now)
    }

    fn replace(
        &self,
        project: ProjectId,
        now: Instant,
        gone: impl Fn(&str, &str) -> bool,
    ) -> Result<PublishedRoot, ReleaseError> {
        let lock = self.locks.of(project);
        let _turn = locks::wait(&lock);
        self.prepare(project, now)?;
        let (repository, keys) = (self.repository(project), self.keys(project)?);
        let root = repository.root()?;
        let mut signers = match repository.signers(ROOT, &keys) {
            Ok(signers) => signers,
            Err(ReleaseError::NoKey { .. } | ReleaseError::Untrusted { .. }) => {
                return Err(refused(
                    "the keys of root are not in this cloud: ask for the next root (iottly signing-key propose ROLE), sign it where they are \
                     (iottly key sign FILE), and publish it (iottly signing-key publish FILE)",
                ));
            }
            Err(error) => return Err(error),
        };
        let mut changed = Vec::new();
        for role in ROLES {
            let (named, threshold) = named(&root, role);
            let (left, lost): (Vec<_>, Vec<_>) = named.into_iter().partition(|id| !gone(role, id));
            if lost.is_empty() {
                continue;
            }
            let mut held: Vec<Key> = left.iter().filter_map(|id| root.keys.get(id).cloned()).collect();
            while (held.len() as u64) < threshold {
                let made = keys.make(role)?;
                held.push(made.public());
                if role == ROOT {
                    signers.push(made);
                }
            }
            changed.push((role, held, threshold));
        }
        if changed.is_empty() {
            return Err(refused("the root of the project names no such key"));
        }
        let next = next_root(&root, repository.lifetimes.root, now, |next| {
            for (role, held, threshold) in &changed {
                name_public(next, role, held, *threshold);
            }
        });
        let document = sign(&next, &signers.iter().collect::<Vec<_>>())
            .map_err(|error| ReleaseError::Input(error.to_string()))?;
        self.install(project, &document, now)
    }

    /// Verifies and writes a root, signs the metadata below it again, and deletes the keys that it does not name any more.
    fn install(
        &self,
        project: ProjectId,
        document: &[u8],
        now: Instant,
    ) -> Result<PublishedRoot, ReleaseError> {
        if document.len() as u64 > ROOT_BYTES {
            return Err(refused(format!(
                "{} bytes are over the {ROOT_BYTES} that devices read of a root",
                document.len()
            )));
        }
        let (repository, keys) = (self.repository(project), self.keys(project)?);
        let before = repository.root()?;
        let next = verified(&repository, document, now)?;
        for role in ROLES.into_iter().filter(|role| *role != ROOT) {
            holds(&keys, &next, role)?;
        }
        // Only a timestamp that names its root shows, after a crash, that the rest is not signed yet.
        if !repository.names_root() {
            repository.refresh(&keys, now)?;
        }
        repository.put_root(next.header.version, document)?;
        repository.refresh(&keys, now)?;
        let (old, new) = (role_keys(&before), role_keys(&next));
        let removed: Vec<RoleKey> = old.difference(&new).cloned().collect();
        for gone in &removed {
            if !next.keys.contains_key(&gone.key) {
                keys.remove(&gone.key)?;
            }
        }
        Ok(PublishedRoot {
            version: next.header.version,
            added: new.difference(&old).cloned().collect(),
            removed,
        })
    }
}

/// Returns a root that devices would accept after the newest one.
fn verified(repository: &ReleaseRepository, document: &[u8], now: Instant) -> Result<Root, ReleaseError> {
    let devices = |error: &dyn std::fmt::Display| refused(format!("devices would refuse this root: {error}"));
    let mut trusted = Trusted::new(&repository.root_document()?, now, Schemes::ED25519)
        .map_err(|error| ReleaseError::Input(error.to_string()))?;
    trusted.update_root(document).map_err(|error| devices(&error))?;
    trusted.finish_root().map_err(|error| devices(&error))?;
    let next = trusted.root().clone();
    if next.consistent_snapshot != Some(true) {
        return Err(refused(
            "consistent_snapshot is not true, and the files of this repository are named so",
        ));
    }
    Ok(next)
}

/// Checks that a cloud has the keys that sign for a role under a root.
fn holds(keys: &KeyFolder, root: &Root, role: &str) -> Result<(), ReleaseError> {
    let Some(named) = role_of(root, role) else {
        if role == DEVELOPER {
            return Ok(());
        }
        return Err(refused(format!("the root names no key for {role}")));
    };
    let held: BTreeSet<String> = match keys.of(role) {
        Ok(held) => held.iter().map(|key| key.public().id()).collect(),
        Err(ReleaseError::NoKey { .. }) => BTreeSet::new(),
        Err(error) => return Err(error),
    };
    let usable = named.keyids.iter().filter(|id| held.contains(*id)).count();
    if (usable as u64) < named.threshold {
        return Err(refused(format!(
            "the root names keys for {role} that this cloud does not have: it could not sign; ask for the next root with \
             iottly signing-key propose {role}"
        )));
    }
    Ok(())
}

fn named(root: &Root, role: &str) -> (Vec<String>, u64) {
    role_of(root, role).map_or((Vec::new(), 1), |named| (named.keyids, named.threshold))
}

fn role_keys(root: &Root) -> BTreeSet<RoleKey> {
    let of = |role: &'static str| {
        named(root, role).0.into_iter().map(move |key| RoleKey {
            role: role.to_owned(),
            key,
        })
    };
    ROLES.into_iter().flat_map(of).collect()
}

fn next_root(root: &Root, days: u64, now: Instant, change: impl FnOnce(&mut Root)) -> Root {
    let mut next = root.clone();
    change(&mut next);
    next.header.version += 1;
    next.header.expires = now.plus(days * DAY);
    next
}

#[cfg(test)]
#[path = "rotation_tests.rs"]
mod tests;
