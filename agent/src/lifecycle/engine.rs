//! The script engine that the agent carries, and the cache that compiles it. Runs no firmware.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use iottly_sandbox::{Cache, CompilerProgram, LoadError, Runtime, ScriptEngine, install};
use iottly_update::put_aside;
use tokio::sync::watch;
use tokio::time::timeout;

use super::error::AgentError;
use crate::config::{AgentConfig, Compiler};
use crate::status::{AgentStatus, FirmwareStatus};
use crate::threads::thread_name;

/// The engine of this agent. All agents of a process share it, so that it is loaded once.
static BUILT_IN: LazyLock<Arc<ScriptEngine>> =
    LazyLock::new(|| Arc::new(ScriptEngine::new(iottly_engine::ABI, iottly_engine::ENGINE)));

/// Folder beside this program with compiled code that was installed with it, as in a container image.
const INSTALLED: &str = "iottly-compiled";

fn installed() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.with_file_name(INSTALLED))
}

/// Compiles the engine into a folder that is installed beside the program, for all processors of this architecture. Returns
/// its digest.
///
/// # Errors
/// The folder cannot be written or the compiler fails.
pub(super) fn warm_into(dir: &Path, compiler: &Compiler) -> Result<String, AgentError> {
    let compiler = CompilerProgram {
        path: compiler.program.clone(),
        args: compiler.args.clone(),
    };
    install(dir, &BUILT_IN, &compiler).map_err(AgentError::Cache)?;
    Ok(BUILT_IN.digest().to_owned())
}

/// Opens the cache of compiled firmware, with the agent's engine for scripts.
pub(super) fn open_cache(config: &AgentConfig) -> Result<Cache, AgentError> {
    let compiler = CompilerProgram {
        path: config.compiler.program.clone(),
        args: config.compiler.args.clone(),
    };
    let dir = config.cache_dir();
    let opened = Cache::open(&dir, compiler.clone()).or_else(|error| {
        // A cache in the data folder can be rebuilt; one elsewhere may be shared.
        if !dir.starts_with(&config.data_dir) {
            return Err(AgentError::from(error));
        }
        tracing::warn!(device.id = %config.device_id, %error, "failed to open the cache of compiled firmware; renaming it and starting with an empty one");
        put_aside(&dir).map_err(AgentError::System)?;
        Ok(Cache::open(&dir, compiler)?)
    })?;
    let opened = opened.with_engine(Arc::clone(&BUILT_IN));
    Ok(match installed() {
        Some(dir) => opened.with_installed(dir),
        None => opened,
    })
}

/// Maximum time for which the compilation of the engine waits for the installed firmware.
const AFTER_FIRMWARE: Duration = Duration::from_secs(2);

/// Compiles the engine on a thread of its own, unless that was done before, so that the first script does not wait for
/// it. A script that comes meanwhile waits for this compilation and does not begin another. The cache compiles one
/// component at a time, so the firmware that is installed comes first.
pub(super) fn warm_in_background(
    config: &AgentConfig,
    cache: Arc<Cache>,
    runtime: Runtime,
    mut status: watch::Receiver<AgentStatus>,
) {
    let device = config.device_id;
    tokio::spawn(async move {
        let loaded = status
            .wait_for(|status| !matches!(status.firmware, FirmwareStatus::Absent | FirmwareStatus::Starting));
        // Without firmware, and without an agent, this ends as well.
        let _ = timeout(AFTER_FIRMWARE, loaded).await;
        let warm = move || {
            if let Err(error) = cache.warm(&runtime) {
                tracing::warn!(device.id = %device, %error, "failed to compile the script engine; the first script tries again");
            }
        };
        let thread = std::thread::Builder::new()
            .name(thread_name("warm", device))
            .spawn(warm);
        if let Err(error) = thread {
            tracing::warn!(device.id = %device, %error, "failed to start a thread for compiling the script engine; the first script does it");
        }
    });
}

/// Compiles the engine into the cache of a device, unless that was done before. Returns its digest.
///
/// # Errors
/// The cache cannot be used or the compiler fails.
pub(super) fn warm(config: &AgentConfig) -> Result<String, AgentError> {
    let cache = open_cache(config)?;
    cache
        .warm(&Runtime::new()?)
        .map_err(|error: LoadError| AgentError::Cache(error))?;
    Ok(BUILT_IN.digest().to_owned())
}
