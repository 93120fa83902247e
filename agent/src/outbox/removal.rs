//! Removing segments. One that is done gets another name first, so that a removal that is cut short leaves no
//! half of a segment.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::disk::Disk;

/// How the names of what is to be removed begin.
const PREFIX: &str = "gone-";

/// Gives what is done in the queue's folder `root` the name of something to be removed; durable when it
/// returns.
pub(super) fn begin(root: &Path, path: &Path, disk: &dyn Disk) -> io::Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let gone = root.join(format!("{PREFIX}{name}"));
    remove(&gone, disk)?;
    match disk.rename(path, &gone) {
        // Somebody else has removed it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        renamed => renamed?,
    }
    disk.sync_folder(root)?;
    Ok(gone)
}

/// Removes what an earlier run did not get to, as far as that is possible: it is no part of the queue any
/// more.
pub(super) fn sweep(root: &Path, disk: &dyn Disk) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX)
            && let Err(error) = remove(&entry.path(), disk)
        {
            tracing::warn!(queue.path = %entry.path().display(), %error, "what is done cannot be removed; the next start tries again");
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
