//! Emptying of a data folder, for images that many boards get.

use std::fs;
use std::io;
use std::path::Path;

use super::{EnrollError, file, is_configured};
use crate::datadir::DataDir;

/// Files and folders with what the cloud has given to a device.
const OF_DEVICE: [&str; 7] = [
    "commands.journal",
    "developer",
    "firmware.state",
    "running",
    "settings.json",
    "trust",
    "update",
];

/// Empties a data folder, so that boards with a copy of this disk enrol as devices of their own. The configuration and
/// the cache of compiled firmware stay. Returns the names of what was removed.
///
/// # Errors
/// If the configuration names a device, an agent uses the folder, or the file system fails.
pub fn generalize(path: &Path) -> Result<Vec<String>, EnrollError> {
    let _data = DataDir::open(path)?;
    let configured = path.join("agent.toml");
    if is_configured(&configured) {
        // Its id and secret would be in every copy.
        return Err(EnrollError::Configured(configured.display().to_string()));
    }
    let mut removed = Vec::new();
    let entries = fs::read_dir(path).map_err(|reason| file(path, reason))?;
    for entry in entries {
        let entry = entry.map_err(|reason| file(path, reason))?;
        let (at, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if matches!(name.as_str(), "agent.toml" | "cache" | "lock") {
            continue;
        }
        remove(&at, entry.file_type().is_ok_and(|kind| kind.is_dir()))?;
        removed.push(name);
    }
    fs::File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(|reason| file(path, reason))?;
    removed.sort();
    Ok(removed)
}

/// Removes what the cloud has given to the former device of a copy; its queue stays.
pub(super) fn clear_device(path: &Path) -> Result<(), EnrollError> {
    for name in OF_DEVICE {
        let at = path.join(name);
        match fs::symlink_metadata(&at) {
            Ok(found) => remove(&at, found.is_dir())?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(reason) => return Err(file(&at, reason)),
        }
    }
    Ok(())
}

fn remove(at: &Path, is_folder: bool) -> Result<(), EnrollError> {
    let done = if is_folder {
        fs::remove_dir_all(at)
    } else {
        fs::remove_file(at)
    };
    done.map_err(|reason| file(at, reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datadir::DataDirError;

    #[test]
    fn a_generalized_folder_has_no_identity_and_keeps_its_cache() {
        let dir = tempfile::tempdir().expect("dir");
        for name in ["identity", "queue", "cache"] {
            fs::create_dir(dir.path().join(name)).expect("folder");
            fs::write(dir.path().join(name).join("0"), "x").expect("file");
        }
        for name in ["agent.toml", "ca.pem", "clock", "enrolment.pending"] {
            fs::write(dir.path().join(name), "x").expect("file");
        }
        let removed = generalize(dir.path()).expect("emptied");
        assert_eq!(
            removed,
            ["ca.pem", "clock", "enrolment.pending", "identity", "queue"]
        );
        assert!(dir.path().join("cache/0").exists() && dir.path().join("agent.toml").exists());
        let data = DataDir::open(dir.path()).expect("open");
        assert!(matches!(
            generalize(dir.path()),
            Err(EnrollError::Data(DataDirError::InUse(_)))
        ));
        drop(data);
    }
}
