//! Closing databases where it may hang.
//!
//! sled flushes a database when it is dropped, and after a failed write that flush may wait for ever. So
//! databases are dropped on threads of their own. One that does not end in time is left behind, with its
//! lock; what it held is read from a copy.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::throttle::LogLimit;
use crate::watchdog;

/// How long closing may take, for a database that works.
const PATIENCE: Duration = Duration::from_secs(20);
/// The same for one that has failed.
const FAILED_PATIENCE: Duration = Duration::from_secs(1);
/// Most databases that are left behind; with one more the process ends and is started again.
const MAX_LEFT: usize = 8;

/// Folders of databases whose closing has not ended.
static CLOSING: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn list() -> MutexGuard<'static, Vec<PathBuf>> {
    CLOSING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says whether the database in a folder is still being closed, so that its lock is not free.
pub(super) fn is_closing(path: &Path) -> bool {
    list().iter().any(|other| other == path)
}

/// Closes the database of a folder; returns when it is closed, or after a while. `failed`: an operation on it
/// failed before.
pub(super) fn close(database: impl Send + 'static, path: &Path, failed: bool) {
    list().push(path.to_owned());
    let (done, ended) = sync_channel(1);
    let name = path.to_owned();
    let database = Arc::new(Mutex::new(Some(database)));
    let theirs = Arc::clone(&database);
    let drop_it = move || {
        let database = theirs.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Closing writes, and sled panics when that fails.
        if catch_unwind(AssertUnwindSafe(move || drop(database))).is_err() {
            static PANICKED: LogLimit = LogLimit::new();
            if let Some(more) = PANICKED.pass() {
                tracing::warn!(queue.path = %name.display(), more, "the storage engine panicked while it was closed");
            }
        }
        let mut closing = list();
        if let Some(at) = closing.iter().position(|other| *other == name) {
            closing.swap_remove(at);
        }
        drop(closing);
        // Nobody waits any more when it took too long.
        let _ = done.send(());
    };
    let started = thread::Builder::new()
        .name("queue-close".to_owned())
        .stack_size(512 << 10)
        .spawn(drop_it);
    let patience = if failed { FAILED_PATIENCE } else { PATIENCE };
    if started.is_err() {
        // Without a thread for it the database stays open, rather than be dropped on this one.
        std::mem::forget(database);
    }
    if ended.recv_timeout(patience).is_err() {
        tracing::error!(queue.path = %path.display(), "a part of the queue cannot be closed; it is left as it is");
        if list().len() > MAX_LEFT {
            watchdog::end("closing parts of the queue");
        }
    }
}

/// Keeps something open as if it hung while it is closed.
#[cfg(test)]
pub(super) fn hold_for_test(database: impl Send + 'static, path: &Path) {
    list().push(path.to_owned());
    std::mem::forget(database);
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    /// Hangs when it is dropped, until it is told otherwise.
    struct Stuck(Receiver<()>);

    impl Drop for Stuck {
        fn drop(&mut self) {
            let _ = self.0.recv();
        }
    }

    #[test]
    fn what_hangs_is_left_behind_and_known() {
        let path = Path::new("/nowhere/stuck");
        let (release, held) = channel();
        close(Stuck(held), path, true);
        assert!(is_closing(path));
        release.send(()).expect("it waits");
        for _ in 0..1000 {
            if !is_closing(path) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("it stays in the list");
    }

    #[test]
    fn what_closes_is_forgotten_at_once() {
        struct Panics;
        impl Drop for Panics {
            fn drop(&mut self) {
                panic!("as sled does");
            }
        }
        let path = Path::new("/nowhere/quick");
        close((), path, false);
        assert!(!is_closing(path));
        close(Panics, path, false);
        assert!(!is_closing(path));
    }
}
