//! The device's data folder: its lock, its permissions, and the mark of a run. Knows nothing of its files.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use iottly_update::{put_aside, replace};
use rustix::fs::{FlockOperation, flock};

use crate::folder_check;

/// Error of a data folder.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another agent uses the folder.
    #[error("data folder {0} is in use by another agent")]
    InUse(String),
    /// The file system failed.
    #[error("data folder {path}: {reason}")]
    Io {
        /// The file or folder.
        path: String,
        /// Error of the system.
        reason: io::Error,
    },
}

/// Data folder of a device, locked until dropped.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    /// The system releases the lock with the last handle, also if the process dies.
    _lock: File,
}

impl DataDir {
    /// Creates the folder if needed, closes it to other users, and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self, DataDirError> {
        let fail = |at: &Path, reason| DataDirError::Io {
            path: at.display().to_string(),
            reason,
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|e| fail(path, e))?;
        folder_check::restrict(path, &fs::metadata(path).map_err(|e| fail(path, e))?, 0o700);
        let at = path.join("lock");
        // Only a regular file can hold another agent's lock.
        if fs::metadata(&at).is_ok_and(|meta| !meta.is_file()) {
            put_aside(&at).map_err(|e| fail(&at, e))?;
        }
        let mut options = OpenOptions::new();
        let lock = options
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&at)
            .map_err(|e| fail(&at, e))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(DataDirError::InUse(path.display().to_string())),
            Err(errno) => Err(fail(&at, errno.into())),
        }
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Marks the run as begun. Returns `true` if the previous run was ended by [`DataDir::end_run`].
    pub(crate) fn begin_run(&self) -> Result<bool, DataDirError> {
        let clean = !self.marker().exists();
        let write = || -> io::Result<()> {
            replace(
                &self.marker(),
                b"an agent is running, or was not stopped cleanly\n",
            )
        };
        write().map_err(|reason| DataDirError::Io {
            path: self.marker().display().to_string(),
            reason,
        })?;
        Ok(clean)
    }

    /// Marks the run as cleanly ended.
    pub(crate) fn end_run(&self) -> io::Result<()> {
        fs::remove_file(self.marker())?;
        File::open(&self.path)?.sync_all()
    }

    fn marker(&self) -> PathBuf {
        self.join("running")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_agent_at_a_time() {
        let dir = tempfile::tempdir().expect("dir");
        let first = DataDir::open(dir.path()).expect("free");
        let error = DataDir::open(dir.path()).expect_err("taken").to_string();
        assert!(error.contains("in use by another agent"), "{error}");
        drop(first);
        DataDir::open(dir.path()).expect("free again");
    }

    #[test]
    fn a_folder_that_others_may_read_is_closed_and_an_odd_lock_is_put_aside() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("data");
        fs::create_dir_all(path.join("lock")).expect("folder");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
        let data = DataDir::open(&path).expect("open");
        assert_eq!(
            fs::metadata(&path).expect("folder").permissions().mode() & 0o777,
            0o700
        );
        assert!(path.join("lock.odd").is_dir() && path.join("lock").is_file());
        drop(data);
        let shared = dir.path().join("shared");
        fs::create_dir(&shared).expect("folder");
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).expect("mode");
        DataDir::open(&shared).expect("open");
        assert_eq!(
            fs::metadata(&shared).expect("folder").permissions().mode() & 0o7777,
            0o1777,
            "a shared folder stays shared"
        );
    }

    #[test]
    fn a_run_that_was_not_ended_is_noticed() {
        let dir = tempfile::tempdir().expect("dir");
        let data = DataDir::open(dir.path()).expect("open");
        assert!(data.begin_run().expect("first"), "nothing ran before");
        assert!(!data.begin_run().expect("second"), "the first run was not ended");
        data.end_run().expect("end");
        assert!(data.begin_run().expect("third"));
    }
}
