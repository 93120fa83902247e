//! Compiled forms that are installed with the program, such as in the layers of a container image. Read as they are:
//! nothing here is repaired or removed.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use iottly_child::Program;
use wasmtime::component::Component;

use super::ScriptEngine;
use super::entry::{SUFFIX, map, seal_of};
use super::key::Key;
use crate::compile::compile;
use crate::engine::{self, Backend, Processor};
use crate::{LoadError, Runtime};

/// Compiles an engine into a folder of installed forms, for every processor of this architecture. Forms that are there are
/// replaced. The folder and the file can be read by all users; for [`super::Cache::with_installed`] both have to belong to
/// root.
///
/// # Errors
/// The compiler fails or the folder cannot be written.
pub fn install(dir: &Path, engine: &ScriptEngine, compiler: &Program) -> Result<(), LoadError> {
    let failed = |source| LoadError::Cache {
        path: dir.to_owned(),
        source,
    };
    fs::create_dir_all(dir).map_err(failed)?;
    fs::set_permissions(dir, Permissions::from_mode(0o755)).map_err(failed)?;
    let backend = Backend::here();
    let code = compile(compiler, backend, Processor::Any, engine.wasm(), dir)?;
    let name = engine::cache_key(engine.digest(), backend);
    let write = || {
        for found in fs::read_dir(dir)? {
            let path = found?.path();
            if path.extension().is_some_and(|end| end == "cwasm") {
                fs::remove_file(path)?;
            }
        }
        let seal = Key::NONE.seal(&name, File::open(code.path())?)?;
        code.as_file().set_permissions(Permissions::from_mode(0o644))?;
        code.as_file().sync_all()?;
        code.persist(dir.join(format!("{name}.{}{SUFFIX}", seal.to_hex())))?;
        File::open(dir)?.sync_all()
    };
    write().map_err(failed)
}

/// Maps the installed form called `name`, if there is one that is whole, that only root can change, and that this
/// processor can run.
pub(super) fn find(dir: &Path, name: &str, runtime: &Runtime) -> Option<Component> {
    let path = sole(dir, name)?;
    let mapped = checked(dir, &path, name)
        .map_err(|error| error.to_string())
        .and_then(|()| map(&path, runtime).map_err(|error| format!("{error:#}")));
    match mapped {
        Ok(component) => Some(component),
        Err(reason) => {
            tracing::warn!(cache.path = %path.display(), reason, "failed to use compiled code that came with the program; compiling it again");
            None
        }
    }
}

/// Returns the file of the form called `name`; a folder that cannot be read has none.
fn sole(dir: &Path, name: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(dir).ok()?.flatten();
    entries
        .map(|entry| entry.path())
        .find(|path| seal_of(path, name).is_some())
}

/// Checks that only root can change folder and file, as it is with the program itself, and that the file is whole.
fn checked(dir: &Path, path: &Path, name: &str) -> io::Result<()> {
    for place in [dir, path] {
        let found = fs::symlink_metadata(place)?;
        if found.uid() != 0 || found.mode() & 0o022 != 0 {
            let reason = format!("other users than root can change {}", place.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
        }
    }
    if Some(Key::NONE.seal(name, File::open(path)?)?) != seal_of(path, name) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is damaged"));
    }
    Ok(())
}
