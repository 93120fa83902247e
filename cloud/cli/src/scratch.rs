//! Temporary folders: below the data folder if there is one, since `/tmp` is read-only in hardened units and
//! containers.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use anyhow::Context;

/// Age after which what an interrupted process left is removed.
const LEFT: Duration = Duration::from_secs(3600);

static FOLDER: OnceLock<PathBuf> = OnceLock::new();

/// Makes `data/scratch` the place of all temporary folders of this process, and removes what earlier
/// processes left there.
#[expect(
    clippy::disallowed_methods,
    reason = "compared with the times of files, which the system takes from this clock"
)]
pub(crate) fn use_data_folder(data: &Path) -> anyhow::Result<()> {
    let folder = data.join("scratch");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot create the folder {}", folder.display()))?;
    for entry in std::fs::read_dir(&folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .flatten()
    {
        let modified = entry.metadata().and_then(|found| found.modified());
        let age = modified
            .ok()
            .and_then(|at| SystemTime::now().duration_since(at).ok())
            .unwrap_or_default();
        if age >= LEFT {
            // A folder that cannot be removed does no harm.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    // Absolute: children work in other folders. A second call in one process keeps the first folder.
    let _ = FOLDER.set(std::path::absolute(&folder).unwrap_or(folder));
    Ok(())
}

/// Returns the folder for temporary files: the one that was set, or the system's.
pub(crate) fn folder() -> PathBuf {
    FOLDER.get().cloned().unwrap_or_else(std::env::temp_dir)
}
