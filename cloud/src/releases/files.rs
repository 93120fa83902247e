//! Atomic writing and reading of files.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::ReleaseError;

/// Replaces a file atomically.
pub(super) fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), ReleaseError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|e| ReleaseError::file(folder, e))?;
    let new = path.with_extension("new");
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|e| {
        // Remove the incomplete file: on a full disk it would only take up space.
        let _ = fs::remove_file(&new);
        ReleaseError::file(path, e)
    })
}

/// Reads a file; none if it does not exist.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, ReleaseError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(ReleaseError::file(path, e)),
    }
}
