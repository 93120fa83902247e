//! Removing segments. A segment is renamed first, so that an interrupted removal never leaves a partial
//! segment.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::disk::Disk;

/// Prefix of the names of folders to be removed.
const PREFIX: &str = "gone-";

/// Renames a folder in the queue's folder `root` for removal; durable on return. Returns the new path.
pub(super) fn begin(root: &Path, path: &Path, disk: &dyn Disk) -> io::Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let gone = root.join(format!("{PREFIX}{name}"));
    remove(&gone, disk)?;
    match disk.rename(path, &gone) {
        // The folder was removed by another program.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        renamed => renamed?,
    }
    disk.sync_folder(root)?;
    Ok(gone)
}

/// Completes the removals of earlier runs, as far as possible: these folders are no longer part of the queue.
pub(super) fn sweep(root: &Path, disk: &dyn Disk) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX)
            && let Err(error) = remove(&entry.path(), disk)
        {
            tracing::warn!(queue.path = %entry.path().display(), %error, "failed to remove a delivered part of the queue; retrying at the next start");
        }
    }
}

fn remove(path: &Path, disk: &dyn Disk) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(meta) if !meta.is_dir() => fs::remove_file(path),
        _ => disk.remove_folder(path),
    }
}
