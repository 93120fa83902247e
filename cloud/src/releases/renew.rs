//! Dates of metadata that the cloud signs by itself: renewed when half of a life is over, and when a wrong
//! clock has set them.

use iottly_protocol::tuf::{Instant, Root, Timestamp};

use super::repository::DAY;
use super::{KeyFolder, ReleaseError, ReleaseRepository};

/// Seconds by which a date may lie ahead of its due time before the clock that set it counts as wrong: an
/// hour.
const AHEAD_S: u64 = 3_600;

impl ReleaseRepository {
    /// Says whether half of the timestamp's life is over, or a clock that was ahead has set its date.
    pub(super) fn is_stale(&self, now: Instant) -> bool {
        let timestamp: Option<Timestamp> = self.signed("timestamp.json").ok().flatten();
        timestamp.is_none_or(|timestamp| is_old(timestamp.header.expires, self.lifetimes.timestamp, now))
    }

    /// Signs snapshot and timestamp anew, and root and targets when their time has come; needs the keys of
    /// all roles.
    ///
    /// # Errors
    /// When a key is missing or a file cannot be written.
    pub(super) fn renew(&self, keys: &KeyFolder, now: Instant) -> Result<(), ReleaseError> {
        let root = self.root()?;
        if is_old(root.header.expires, self.lifetimes.root, now) {
            self.renew_root(root, keys, now)?;
        }
        let targets = self.targets()?;
        if is_old(targets.header.expires, self.lifetimes.targets, now) {
            return self.publish(targets, keys, now);
        }
        self.refresh(keys, now)
    }

    /// Signs the next version of root with the same keys and a new date.
    fn renew_root(&self, mut root: Root, keys: &KeyFolder, now: Instant) -> Result<(), ReleaseError> {
        root.header.version += 1;
        root.header.expires = now.plus(self.lifetimes.root * DAY);
        self.put("root", root.header.version, &root, &keys.of("root")?)
    }
}

/// Says whether less than half of so many days is left, or more than all of them.
fn is_old(expires: Instant, days: u64, now: Instant) -> bool {
    expires < now.plus(days * DAY / 2) || expires > now.plus(days * DAY + AHEAD_S)
}
