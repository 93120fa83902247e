//! The folder of compiled code of this program's own processes, with the engine that scripts run on. What a device
//! compiles is in the device's folder.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::Context;
use iottly_sandbox::{Cache, Runtime, ScriptEngine};

use crate::subprocess;

static FOLDER: OnceLock<PathBuf> = OnceLock::new();

/// Makes `folder` the place of compiled code of this process.
pub(crate) fn use_folder(folder: &Path) {
    // Absolute: children work in other folders. A second call in one process keeps the first folder.
    let _ = FOLDER.set(std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()));
}

/// Returns the folder: the one that was set, else `iottly/compiled` in the user's cache, so that the engine is compiled
/// once, and not once a command. Where that cannot be written it is in the folder of temporary files or in this one.
pub(crate) fn folder() -> PathBuf {
    FOLDER.get_or_init(of_user).clone()
}

fn of_user() -> PathBuf {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    let own = format!("iottly-compiled-{}", rustix::process::getuid().as_raw());
    let folders = [
        cache.map(|cache| cache.join("iottly/compiled")),
        Some(std::env::temp_dir().join(&own)),
        std::path::absolute(&own).ok(),
    ];
    let writable =
        |folder: &PathBuf| std::fs::create_dir_all(folder).is_ok() && tempfile::tempfile_in(folder).is_ok();
    let last = std::env::temp_dir().join(own);
    folders.into_iter().flatten().find(writable).unwrap_or(last)
}

/// Opens the cache in `folder`, with the engine.
pub(crate) fn open(folder: &Path) -> anyhow::Result<Cache> {
    let cache =
        Cache::open(folder, subprocess::compiler()?).context("cannot open the cache of compiled code")?;
    Ok(cache.with_engine(ScriptEngine::new(iottly_engine::ABI, iottly_engine::ENGINE)))
}

/// Compiles the engine in the background, so that the first script does not wait for it.
pub(crate) fn warm_in_background() -> anyhow::Result<()> {
    let folder = folder();
    let warm = move || {
        let done = open(&folder).and_then(|cache| Ok(cache.warm(&Runtime::new()?)?));
        if let Err(error) = done {
            tracing::warn!("failed to compile the script engine: {error:#}; the first script tries again");
        }
    };
    std::thread::Builder::new()
        .name("warm".to_owned())
        .spawn(warm)
        .context("cannot start a thread for the script engine")?;
    Ok(())
}
