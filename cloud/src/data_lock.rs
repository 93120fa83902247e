//! Exclusive access to a data folder: one process and one user, because it contains the data of all tenants.

use std::fs::{DirBuilder, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Mode of the folder.
const FOLDER: u32 = 0o700;
/// Mode of the files in it.
const FILE: u32 = 0o600;

/// Lock on a data folder, held while a cloud uses it; the operating system releases it however the process
/// ends.
#[derive(Debug)]
pub(crate) struct DataLock {
    _file: File,
}

impl DataLock {
    /// Creates the folder if missing, removes the permissions of other users, and locks it.
    ///
    /// # Errors
    /// The reason, for people, if the folder cannot be created or another process holds the lock.
    pub(crate) fn take(folder: &Path) -> Result<Self, String> {
        DirBuilder::new()
            .recursive(true)
            .mode(FOLDER)
            .create(folder)
            .map_err(|error| error.to_string())?;
        if let Err(error) = tighten(folder) {
            tracing::warn!(data.folder = %folder.display(), %error, "failed to remove other users' permissions on the data folder; they may read it");
        }
        let path = folder.join("lock");
        let options = File::options()
            .create(true)
            .write(true)
            .truncate(false)
            .mode(FILE)
            .open(path);
        let file = options.map_err(|error| format!("lock file: {error}"))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err("another process uses it".into()),
            Err(TryLockError::Error(error)) => Err(format!("lock file: {error}")),
        }
    }
}

/// Removes the permissions of other users on the folder and the files in it. Folders inside are protected by
/// the one around them.
fn tighten(folder: &Path) -> io::Result<()> {
    close(folder, FOLDER)?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // The type of the entry itself: a link's target must not be changed.
        if entry.file_type()?.is_file() {
            close(&entry.path(), FILE)?;
        }
    }
    Ok(())
}

fn close(path: &Path, mode: u32) -> io::Result<()> {
    let found = path.metadata()?.permissions().mode();
    if found & 0o077 == 0 {
        Ok(())
    } else {
        std::fs::set_permissions(path, Permissions::from_mode(mode))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().expect("there").permissions().mode() & 0o777
    }

    #[test]
    fn a_folder_is_its_users_own() {
        let parent = tempfile::tempdir().expect("folder");
        let (new, old) = (parent.path().join("new"), parent.path().join("old"));
        drop(DataLock::take(&new).expect("new"));
        assert_eq!((mode(&new), mode(&new.join("lock"))), (0o700, 0o600));
        std::fs::create_dir(&old).expect("created");
        for name in ["cloud.db", "cloud.db-wal"] {
            std::fs::write(old.join(name), "rows").expect("written");
            std::fs::set_permissions(old.join(name), Permissions::from_mode(0o644)).expect("set");
        }
        std::fs::set_permissions(&old, Permissions::from_mode(0o755)).expect("set");
        let outside = parent.path().join("outside");
        std::fs::write(&outside, "another's").expect("written");
        std::fs::set_permissions(&outside, Permissions::from_mode(0o644)).expect("set");
        std::os::unix::fs::symlink(&outside, old.join("link")).expect("linked");
        let _held = DataLock::take(&old).expect("old");
        assert_eq!(
            (
                mode(&old),
                mode(&old.join("cloud.db")),
                mode(&old.join("cloud.db-wal"))
            ),
            (0o700, 0o600, 0o600)
        );
        assert_eq!(mode(&outside), 0o644);
    }

    #[test]
    fn a_folder_has_one_owner() {
        let folder = tempfile::tempdir().expect("folder");
        let held = DataLock::take(&folder.path().join("new")).expect("first");
        assert_eq!(
            DataLock::take(&folder.path().join("new")).expect_err("second"),
            "another process uses it"
        );
        drop(held);
        assert!(DataLock::take(&folder.path().join("new")).is_ok());
    }
}
