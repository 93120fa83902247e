//! Locks of projects for signing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use iottly_protocol::ProjectId;

/// Locks that admit one signer per project: versions and numbers are consecutive, and no project waits for
/// another.
#[derive(Debug, Default)]
pub(super) struct Locks(Mutex<HashMap<ProjectId, Weak<Mutex<()>>>>);

impl Locks {
    /// Returns the project's lock. Unused locks are forgotten.
    pub(super) fn of(&self, project: ProjectId) -> Arc<Mutex<()>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, lock| lock.strong_count() > 0);
        let lock = known.get(&project).and_then(Weak::upgrade).unwrap_or_default();
        known.insert(project, Arc::downgrade(&lock));
        lock
    }
}

/// Waits for a lock. A poisoned one is usable: a signer that panicked has left complete files.
pub(super) fn wait(lock: &Mutex<()>) -> MutexGuard<'_, ()> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
