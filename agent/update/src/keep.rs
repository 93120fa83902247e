//! Storing of verified targets in a folder.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use iottly_protocol::tuf::{CheckedReader, Client, Fetch, Located, Store, TufError};

use crate::regular;
use crate::trust::file_name;

/// Reason why a target is not in the folder.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The target cannot be fetched or is not what was signed.
    #[error(transparent)]
    Target(#[from] TufError),
    /// The folder fails.
    #[error("{path}: {reason}")]
    Folder {
        /// Path of the file.
        path: String,
        /// Error of the system.
        reason: io::Error,
    },
}

/// Finds a target and stores it in a folder, under a name that depends on its path alone. A file that is
/// there already and is what was signed is not fetched again.
///
/// # Errors
/// The target is not found, is not what was signed, or the folder fails.
pub fn keep_target<F: Fetch, S: Store>(
    client: &mut Client<F, S>,
    path: &str,
    folder: &Path,
) -> Result<PathBuf, KeepError> {
    let located = client.find(path)?;
    let kept = folder.join(file_name(path));
    if let Ok(file) = regular::open(&kept)
        && whole(file, &located).is_ok()
    {
        return Ok(kept);
    }
    let mut reader = client.open_target(&located)?;
    let part = kept.with_file_name(format!("{}.part", file_name(path)));
    let folder_error = |reason: io::Error| KeepError::Folder {
        path: part.display().to_string(),
        reason,
    };
    let mut file = File::create(&part).map_err(folder_error)?;
    let copied = copy(&mut reader, &mut file, &part).and_then(|()| Ok(reader.finish()?));
    if let Err(error) = copied {
        drop(fs::remove_file(&part));
        return Err(error);
    }
    file.sync_all()
        .and_then(|()| fs::rename(&part, &kept))
        .map_err(folder_error)?;
    Ok(kept)
}

fn copy<R: Read>(reader: &mut CheckedReader<R>, file: &mut File, path: &Path) -> Result<(), KeepError> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = reader.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        let folder_error = |reason: io::Error| KeepError::Folder {
            path: path.display().to_string(),
            reason,
        };
        file.write_all(&buffer[..count]).map_err(folder_error)?;
    }
}

/// Checks that a file is what was signed.
fn whole(file: File, located: &Located) -> Result<(), TufError> {
    let mut reader = CheckedReader::new(file, &located.path, &located.file)?;
    let mut buffer = vec![0; 64 << 10];
    while reader.read(&mut buffer)? > 0 {}
    reader.finish()
}
