//! Compiled firmware on disk.
//!
//! Compiled code is machine code, so only code that this device compiled is ever mapped: a file's name
//! carries a keyed hash of its content, made with a key that never leaves the directory. One rename stores
//! code and seal together, so any number of processes and threads may share a directory. The one exception is
//! code that root has installed with the program.

mod entry;
mod installed;
mod key;
mod script_engine;

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once, PoisonError, RwLock};

use iottly_child::Confinement;
use iottly_manifest::{Script, ScriptError};
use iottly_protocol::limits::MAX_COMPONENT_BYTES;
use sha2::{Digest, Sha256};
use wasmtime::component::Component;

use crate::compile::{CompilerProgram, compile};
use crate::engine::Processor;
use crate::profile::Profile;
use crate::{Firmware, LoadError, Runtime, engine};

pub use installed::install;
use key::Key;
pub use script_engine::ScriptEngine;
use script_engine::engine_for;

/// Maximum number of engines beside the own ones: of the committed release and of the one on trial.
const MAX_BROUGHT: usize = 2;

/// Directory of compiled firmware, at most 16 files or 256 MiB; the least recently used is removed first, the engines of
/// this cache never.
pub struct Cache {
    dir: PathBuf,
    key: Key,
    compiler: CompilerProgram,
    engines: Vec<Arc<ScriptEngine>>,
    brought: RwLock<Vec<Arc<ScriptEngine>>>,
    installed: Option<PathBuf>,
}

impl Cache {
    /// Opens the cache in `dir`, which is created if missing and closed to other users.
    ///
    /// # Errors
    /// [`LoadError::Cache`] if the directory cannot be used or belongs to another user.
    pub fn open(dir: impl Into<PathBuf>, compiler: CompilerProgram) -> Result<Self, LoadError> {
        tell_of_confinement();
        let dir = dir.into();
        let failed = |source| LoadError::Cache {
            path: dir.clone(),
            source,
        };
        own(&dir).map_err(failed)?;
        let key = {
            let _lock = lock(&dir).map_err(failed)?;
            Key::load_or_create(&dir).map_err(failed)?
        };
        Ok(Self {
            dir,
            key,
            compiler,
            engines: Vec::new(),
            brought: RwLock::default(),
            installed: None,
        })
    }

    /// Adds an engine for scripts. Scripts run on the first engine that fits them. Caches of one process that share an
    /// engine load it once.
    #[must_use]
    pub fn with_engine(mut self, engine: impl Into<Arc<ScriptEngine>>) -> Self {
        self.engines.push(engine.into());
        self
    }

    /// Adds a folder of compiled forms that were installed with the program, see [`install`]. They are mapped if folder and
    /// file belong to root and no other user can write them.
    #[must_use]
    pub fn with_installed(mut self, dir: impl Into<PathBuf>) -> Self {
        self.installed = Some(dir.into());
        self
    }

    /// Returns the engines of [`Cache::with_engine`].
    #[must_use]
    pub fn own_engines(&self) -> &[Arc<ScriptEngine>] {
        &self.engines
    }

    /// Replaces the engines that are kept beside those of [`Cache::with_engine`], at most two. Scripts try them last; one
    /// that is among the own ones counts once.
    pub fn set_brought(&self, engines: Vec<ScriptEngine>) {
        let mut brought = self.brought.write().unwrap_or_else(PoisonError::into_inner);
        let is_own = |engine: &ScriptEngine| self.engines.iter().any(|own| own.is_same(engine));
        let other = engines.into_iter().filter(|engine| !is_own(engine));
        let kept = other.take(MAX_BROUGHT).map(|engine| {
            let same = brought.iter().find(|old| old.is_same(&engine)).cloned();
            same.unwrap_or_else(|| Arc::new(engine))
        });
        *brought = kept.collect();
    }

    /// Returns the engines for scripts, in the order in which scripts try them.
    #[must_use]
    pub fn engines(&self) -> Vec<Arc<ScriptEngine>> {
        let brought = self.brought.read().unwrap_or_else(PoisonError::into_inner);
        self.engines.iter().chain(brought.iter()).cloned().collect()
    }

    /// Returns the engine that a component runs on; none if it has code of its own. `preferred` is the digest of the
    /// engine that is taken if it fits.
    ///
    /// # Errors
    /// [`LoadError::NoEngine`], or the script is damaged.
    pub fn engine_of(
        &self,
        wasm: &[u8],
        preferred: Option<&str>,
    ) -> Result<Option<Arc<ScriptEngine>>, LoadError> {
        let script = Script::extract(wasm).map_err(|error| LoadError::Script(error.to_string()))?;
        script
            .map(|script| engine_for(&self.engines(), &script, preferred))
            .transpose()
    }

    /// Compiles all engines for scripts, unless that was done before, so that the first script does not wait for it.
    ///
    /// # Errors
    /// As [`Cache::load`].
    pub fn warm(&self, runtime: &Runtime) -> Result<(), LoadError> {
        for engine in self.engines() {
            self.loaded(runtime, &engine)?;
        }
        Ok(())
    }

    /// Loads a component as a firmware; compiles it unless that was done before. A component that is a script runs on
    /// an engine of this cache, which is all that is compiled for it.
    ///
    /// If several callers want the same firmware, one compiles and the others wait for it.
    ///
    /// # Errors
    /// [`LoadError`] with what is wrong with the component, the compiler or the directory.
    pub fn load(&self, runtime: &Runtime, wasm: &[u8]) -> Result<Firmware, LoadError> {
        self.load_on(runtime, wasm, None)
    }

    /// Loads a component as [`Cache::load`] does, a script on the engine with the digest `preferred` if it fits.
    ///
    /// # Errors
    /// As [`Cache::load`].
    pub fn load_on(
        &self,
        runtime: &Runtime,
        wasm: &[u8],
        preferred: Option<&str>,
    ) -> Result<Firmware, LoadError> {
        if wasm.len() > MAX_COMPONENT_BYTES {
            return Err(LoadError::TooLarge {
                size: wasm.len(),
                limit: MAX_COMPONENT_BYTES,
            });
        }
        let digest = engine::hex(&Sha256::digest(wasm));
        match Script::extract(wasm) {
            Ok(Some(script)) => {
                let profile = Profile::read(wasm, &digest)?;
                let engine = engine_for(&self.engines(), &script, preferred)?;
                let engine = self.loaded(runtime, &engine)?;
                return Ok(engine.with_script(script, profile));
            }
            // What is no WebAssembly binary is described best by the compiler.
            Ok(None) | Err(ScriptError::Section(_)) => {}
            Err(error) => return Err(LoadError::Script(error.to_string())),
        }
        let component = self.component(runtime, wasm, &engine::cache_key(&digest, runtime.backend()))?;
        let profile = Profile::read(wasm, &digest)?;
        Firmware::new(runtime, &component, profile)
    }

    /// Returns an engine, compiled.
    fn loaded(&self, runtime: &Runtime, engine: &ScriptEngine) -> Result<Firmware, LoadError> {
        engine.loaded(runtime, || {
            let name = engine::cache_key(engine.digest(), runtime.backend());
            let component = self.component(runtime, engine.wasm(), &name)?;
            let profile = Profile::read(engine.wasm(), engine.digest())?;
            Firmware::unchecked(runtime, &component, profile)
        })
    }

    fn component(&self, runtime: &Runtime, wasm: &[u8], name: &str) -> Result<Component, LoadError> {
        let failed = |source| LoadError::Cache {
            path: self.dir.clone(),
            source,
        };
        if let Some(component) = entry::find(&self.dir, &self.key, name, runtime).map_err(failed)? {
            return Ok(component);
        }
        let installed = self.installed.as_deref();
        if let Some(component) = installed.and_then(|dir| installed::find(dir, name, runtime)) {
            return Ok(component);
        }
        let _lock = lock(&self.dir).map_err(failed)?;
        if let Some(component) = entry::find(&self.dir, &self.key, name, runtime).map_err(failed)? {
            return Ok(component);
        }
        let engines = self.engines();
        let pinned: Vec<_> = engines
            .iter()
            .map(|engine| engine::cache_key(engine.digest(), runtime.backend()))
            .collect();
        entry::clean(&self.dir, &pinned).map_err(failed)?;
        let code = compile(
            &self.compiler,
            runtime.backend(),
            Processor::This,
            wasm,
            &self.dir,
        )?;
        let path = entry::keep(&self.dir, &self.key, name, code).map_err(failed)?;
        entry::map(&path, runtime).map_err(|error| LoadError::Cache {
            path,
            source: io::Error::other(format!("{error:#}")),
        })
    }
}

/// Logs once per process that the kernel lacks the strongest confinement of the compiler.
fn tell_of_confinement() {
    static TOLD: Once = Once::new();
    if Confinement::here().landlock == 0 {
        TOLD.call_once(|| {
            tracing::warn!(
                "this kernel has no Landlock; the compiler's process is confined by its other bounds only"
            )
        });
    }
}

/// Closes the directory to other users.
fn own(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let found = std::fs::metadata(dir)?;
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "it belongs to another user",
        ));
    }
    if found.permissions().mode() & 0o077 != 0 {
        std::fs::set_permissions(dir, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Waits for the lock of the directory. Each holder is bounded by the compiler's deadline.
fn lock(dir: &Path) -> io::Result<File> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join("lock"))?;
    file.lock()?;
    Ok(file)
}
