//! Quarantine: unreadable parts of the queue, kept for inspection within bounds.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::disk::Disk;
use crate::files;

/// Name of the folder.
pub(super) const FOLDER: &str = "quarantine";
/// Maximum number of parts kept.
const MAX_KEPT: usize = 2;

/// Moves a folder of the queue in `root` into the quarantine, removing the oldest parts beyond the limit.
/// Returns the new path.
pub(super) fn move_in(root: &Path, path: &Path, disk: &dyn Disk) -> io::Result<PathBuf> {
    let folder = root.join(FOLDER);
    if fs::symlink_metadata(&folder).is_ok_and(|meta| !meta.is_dir()) {
        files::put_aside(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let mut kept: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let entry = entry?;
        kept.push((
            entry
                .metadata()
                .and_then(|meta| meta.modified())
                .unwrap_or(SystemTime::UNIX_EPOCH),
            entry.path(),
        ));
    }
    kept.sort();
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let place = (0..)
        .map(|n| folder.join(format!("{name}-{n}")))
        .find(|place| !place.exists())
        .expect("numbers do not end");
    let excess = (kept.len() + 1).saturating_sub(MAX_KEPT);
    for (_, old) in &kept[..excess] {
        if old.is_dir() {
            disk.remove_folder(old)?
        } else {
            fs::remove_file(old)?
        }
    }
    disk.rename(path, &place)?;
    disk.sync_folder(&folder)?;
    disk.sync_folder(root)?;
    Ok(place)
}
