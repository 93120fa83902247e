//! Closing databases, which may hang.
//!
//! sled flushes a database when it is dropped, and after a failed write that flush may never return.
//! Databases are therefore dropped on separate threads. One that is not closed in time is left behind with
//! its lock; its content is read from a copy. While its flush waits, it holds a lock that all databases of the
//! process share for writing: if that lasts, the watchdog ends the process.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::throttle::LogLimit;
use crate::watchdog;

/// Maximum time to close a working database.
const PATIENCE: Duration = Duration::from_secs(20);
/// Maximum time to close a database that has failed.
const FAILED_PATIENCE: Duration = Duration::from_secs(1);
/// Maximum number of databases left behind; one more ends the process, which is then restarted.
const MAX_LEFT: usize = 8;

/// Maximum number of removed databases left open; one more ends the process, which is then restarted.
const MAX_REMOVED: usize = 64;

/// Folders of databases that are being closed.
static CLOSING: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn list() -> MutexGuard<'static, Vec<PathBuf>> {
    CLOSING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns `true` if the database in a folder is still being closed and its lock is not free.
pub(super) fn is_closing(path: &Path) -> bool {
    list().iter().any(|other| other == path)
}

/// Closes the database in a folder, waiting at most 20 s, or 1 s if an operation on it has `failed`.
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
                tracing::warn!(queue.path = %name.display(), suppressed = more, "the storage engine panicked while closing a database; continuing");
            }
        }
        let mut closing = list();
        if let Some(at) = closing.iter().position(|other| *other == name) {
            closing.swap_remove(at);
        }
        drop(closing);
        // The closer may have timed out.
        let _ = done.send(());
    };
    let started = thread::Builder::new()
        .name("queue-close".to_owned())
        .stack_size(512 << 10)
        .spawn(drop_it);
    let patience = if failed { FAILED_PATIENCE } else { PATIENCE };
    match started {
        Ok(_) if ended.recv_timeout(patience).is_ok() => return,
        Ok(_) => {
            tracing::error!(queue.path = %path.display(), "failed to close a part of the queue in time; leaving it open");
        }
        Err(error) => {
            // Dropping it here could hang.
            std::mem::forget(database);
            tracing::error!(queue.path = %path.display(), %error, "failed to start a thread that closes a part of the queue; leaving it open");
        }
    }
    if list().len() > MAX_LEFT {
        watchdog::end("closing parts of the queue");
    }
}

/// Leaves a database open whose file was removed: nothing of it can be kept, and sled's flush while closing may
/// wait forever, with a lock that all databases of the process share.
pub(super) fn leave_removed(database: impl Send + 'static, path: &Path) {
    static REMOVED: AtomicUsize = AtomicUsize::new(0);
    tracing::error!(queue.path = %path.display(), "the file of a part of the queue was removed while it was open; leaving it open");
    std::mem::forget(database);
    if REMOVED.fetch_add(1, Ordering::Relaxed) >= MAX_REMOVED {
        watchdog::end("closing removed parts of the queue");
    }
}

/// Keeps a database open as if closing it hung.
#[cfg(test)]
pub(super) fn hold_for_test(database: impl Send + 'static, path: &Path) {
    list().push(path.to_owned());
    std::mem::forget(database);
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    /// Hangs when dropped, until released.
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
