//! One process per data folder.

use std::fs::{File, TryLockError};
use std::path::Path;

/// Held while a cloud uses its data folder; the system releases it however the process ends.
#[derive(Debug)]
pub(crate) struct DataLock {
    _file: File,
}

impl DataLock {
    /// Creates the folder when missing and locks it.
    ///
    /// # Errors
    /// The reason, for people, when the folder cannot be created or another process holds it.
    pub(crate) fn take(folder: &Path) -> Result<Self, String> {
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        let path = folder.join("lock");
        let options = File::options().create(true).write(true).truncate(false).open(path);
        let file = options.map_err(|error| format!("lock file: {error}"))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err("another process uses it".into()),
            Err(TryLockError::Error(error)) => Err(format!("lock file: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_owner() {
        let folder = tempfile::tempdir().expect("folder");
        let held = DataLock::take(&folder.path().join("new")).expect("first");
        assert_eq!(DataLock::take(&folder.path().join("new")).expect_err("second"), "another process uses it");
        drop(held);
        assert!(DataLock::take(&folder.path().join("new")).is_ok());
    }
}
