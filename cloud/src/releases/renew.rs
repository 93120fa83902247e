//! Expiry dates of metadata that the cloud signs itself: renewed when half of the lifetime is over, or when a
//! wrong clock had set them.

use iottly_protocol::release::developer_role;
use iottly_protocol::tuf::{Instant, Root, SigningKey, Timestamp};

use super::keys::DEVELOPER;
use super::repository::{DAY, name_keys};
use super::{KeyFolder, ReleaseError, ReleaseRepository};

/// Time in seconds (an hour) by which a date may be too late before the clock that set it is considered
/// wrong.
const AHEAD_S: u64 = 3_600;

impl ReleaseRepository {
    /// Returns true if half of the timestamp's lifetime is over, or its date was set by a clock that was
    /// ahead.
    pub(super) fn is_stale(&self, now: Instant) -> bool {
        if self.is_behind_root() {
            return true;
        }
        let timestamp: Option<Timestamp> = self.signed("timestamp.json").ok().flatten();
        timestamp.is_none_or(|timestamp| is_old(timestamp.header.expires, self.lifetimes.timestamp, now))
    }

    /// Re-signs snapshot and timestamp, and root and targets if they are due; needs the keys of all roles but root. A root
    /// whose keys are elsewhere is renewed there.
    ///
    /// # Errors
    /// If a key is missing or a file cannot be written.
    pub(super) fn renew(&self, keys: &KeyFolder, now: Instant) -> Result<(), ReleaseError> {
        let root = self.root()?;
        if is_old(root.header.expires, self.lifetimes.root, now) {
            let expires = root.header.expires;
            match self.renew_root(root, keys, now) {
                Err(error @ (ReleaseError::NoKey { .. } | ReleaseError::Untrusted { .. })) => {
                    tracing::warn!(%error, root.expires = %expires, "failed to renew the root of a repository; it has to be signed where its keys are")
                }
                other => other?,
            }
        }
        let targets = self.targets()?;
        if is_old(targets.header.expires, self.lifetimes.targets, now) {
            return self.publish(targets, keys, now);
        }
        self.refresh(keys, now)
    }

    /// Signs the next version of root with the same keys and a new date; adds the role for developer orders to a
    /// root that was signed before the role existed.
    fn renew_root(&self, mut root: Root, keys: &KeyFolder, now: Instant) -> Result<(), ReleaseError> {
        if developer_role(&root).is_none() {
            name_keys(&mut root, DEVELOPER, &developer_keys(keys)?, 1);
        }
        root.header.version += 1;
        root.header.expires = now.plus(self.lifetimes.root * DAY);
        self.put("root", root.header.version, &root, &self.signers("root", keys)?)
    }
}

/// Returns the keys for developer orders; makes one if there is none.
pub(super) fn developer_keys(keys: &KeyFolder) -> Result<Vec<SigningKey>, ReleaseError> {
    match keys.of(DEVELOPER) {
        Err(ReleaseError::NoKey { .. }) => Ok(vec![keys.make(DEVELOPER)?]),
        other => other,
    }
}

/// Returns true if less than half of `days` is left, or more than all of them.
fn is_old(expires: Instant, days: u64, now: Instant) -> bool {
    expires < now.plus(days * DAY / 2) || expires > now.plus(days * DAY + AHEAD_S)
}
