//! Turns of the tests of one program, which run in parallel threads.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static TURNS: RwLock<()> = RwLock::new(());

/// Returns a guard that keeps tests which need the machine [`alone`] from running.
pub fn beside_others() -> RwLockReadGuard<'static, ()> {
    // A test that failed leaves nothing behind that the others could stumble over.
    TURNS.read().unwrap_or_else(PoisonError::into_inner)
}

/// Returns a guard beside which no other test of this program runs: for tests that measure time or processor
/// time, which other processes on a small machine would distort.
pub fn alone() -> RwLockWriteGuard<'static, ()> {
    TURNS.write().unwrap_or_else(PoisonError::into_inner)
}
