//! The roots of a repository, and what is signed below the newest one.

use iottly_protocol::tuf::{Root, SigningKey, Timestamp};

use super::repository::UNDER_ROOT_KEY;
use super::{KeyFolder, ReleaseError, ReleaseRepository, files, role_of};

impl ReleaseRepository {
    /// Returns the keys of a role that are here and that the newest root names.
    ///
    /// # Errors
    /// [`ReleaseError::NoKey`] if there is none, [`ReleaseError::Untrusted`] if the root names fewer of them than must sign.
    pub(super) fn signers(&self, role: &str, keys: &KeyFolder) -> Result<Vec<SigningKey>, ReleaseError> {
        let root = self.root()?;
        let mut held = keys.of(role)?;
        let named = role_of(&root, role);
        held.retain(|key| {
            named
                .as_ref()
                .is_some_and(|named| named.keyids.contains(&key.public().id()))
        });
        if (held.len() as u64) < named.map_or(1, |named| named.threshold.max(1)) {
            return Err(ReleaseError::Untrusted {
                role: role.to_owned(),
                folder: keys.shown(),
                version: root.header.version,
            });
        }
        Ok(held)
    }

    /// Writes a signed root.
    pub(super) fn put_root(&self, version: u64, document: &[u8]) -> Result<(), ReleaseError> {
        files::replace(&self.root_path(version), document, 0o644)
    }

    /// Returns the version of the newest root; 1 if there is none.
    pub(super) fn newest_root(&self) -> u64 {
        (1..)
            .take_while(|version| self.root_path(*version).exists())
            .last()
            .unwrap_or(1)
    }

    pub(super) fn root(&self) -> Result<Root, ReleaseError> {
        self.needed(&format!("{}.root.json", self.newest_root()))
    }

    /// Returns all roots, by version.
    pub(super) fn roots(&self) -> Result<Vec<Root>, ReleaseError> {
        (1..=self.newest_root())
            .map(|version| self.needed(&format!("{version}.root.json")))
            .collect()
    }

    /// Returns the newest root as it was signed.
    pub(super) fn root_document(&self) -> Result<Vec<u8>, ReleaseError> {
        let path = self.root_path(self.newest_root());
        files::read(&path)?.ok_or_else(|| ReleaseError::invalid(&path, "is missing"))
    }

    /// Returns true if a root was published and the other metadata was not signed again below it.
    pub(super) fn is_behind_root(&self) -> bool {
        self.under_root().is_some_and(|under| under < self.newest_root())
    }

    /// Returns true if the timestamp names the root under which it was signed.
    pub(super) fn names_root(&self) -> bool {
        self.under_root().is_some()
    }

    fn under_root(&self) -> Option<u64> {
        let timestamp: Option<Timestamp> = self.signed("timestamp.json").ok().flatten();
        timestamp?.extra.get(UNDER_ROOT_KEY)?.as_u64()
    }
}
