use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use iottly_protocol::ProjectId;

/// Locks that admit a single signer for each project: versions and numbers rise by one, and no project waits
/// for another.
#[derive(Debug, Default)]
pub(super) struct Locks(Mutex<HashMap<ProjectId, Weak<Mutex<()>>>>);

impl Locks {
    /// Returns the project's lock. Locks that nobody holds are forgotten.
    pub(super) fn of(&self, project: ProjectId) -> Arc<Mutex<()>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, lock| lock.strong_count() > 0);
        let lock = known.get(&project).and_then(Weak::upgrade).unwrap_or_default();
        known.insert(project, Arc::downgrade(&lock));
        lock
    }
}

/// Waits for a lock; a signer that panicked has left whole files.
pub(super) fn wait(lock: &Mutex<()>) -> MutexGuard<'_, ()> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
