//! Files of the cache: sealed names, mapping and removal. Compiles nothing.

use std::fs::{self, DirEntry, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tempfile::NamedTempFile;
use wasmtime::component::Component;

use super::key::Key;
use crate::Runtime;
use crate::trap::of_system;

const MAX_FILES: usize = 16;
const MAX_BYTES: u64 = 256 << 20;
/// End of the name of a compiled form.
pub(super) const SUFFIX: &str = ".cwasm";

/// Maps the compiled form called `name`, if there is one with a valid seal. Invalid ones are deleted.
pub(super) fn find(dir: &Path, key: &Key, name: &str, runtime: &Runtime) -> io::Result<Option<Component>> {
    for found in fs::read_dir(dir)? {
        let path = found?.path();
        let Some(seal) = seal_of(&path, name) else {
            continue;
        };
        match checked(&path, key, name, seal) {
            Ok(true) => match map(&path, runtime) {
                Ok(component) => return Ok(Some(component)),
                // Not enough memory or mappings: the file is good, and compiling it again would need more.
                Err(error) if of_system(&error).is_some() => {
                    return Err(io::Error::other(format!("{error:#}")));
                }
                Err(error) => {
                    tracing::warn!(cache.path = %path.display(), "failed to map compiled firmware: {error:#}; compiling it again")
                }
            },
            Ok(false) => {
                tracing::warn!(cache.path = %path.display(), "compiled firmware has a wrong seal; compiling it again")
            }
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        }
        remove(&path)?;
    }
    Ok(None)
}

/// Returns the seal in the name of a file, if the file is a compiled form called `name`.
pub(super) fn seal_of(path: &Path, name: &str) -> Option<blake3::Hash> {
    let seal = path
        .file_name()?
        .to_str()?
        .strip_prefix(name)?
        .strip_prefix('.')?
        .strip_suffix(SUFFIX)?;
    blake3::Hash::from_hex(seal).ok()
}

fn checked(path: &Path, key: &Key, name: &str, seal: blake3::Hash) -> io::Result<bool> {
    let file = File::open(path)?;
    let good = key.seal(name, &file)? == seal;
    if good {
        // Records the use; a failure on a read-only file system has no effect.
        let _ = file.set_modified(SystemTime::now());
    }
    Ok(good)
}

/// Maps a file whose seal was just checked or written.
pub(super) fn map(path: &Path, runtime: &Runtime) -> wasmtime::Result<Component> {
    // SAFETY: the content is what our own compiler wrote. In a cache its keyed hash was checked, and the key and the file
    // are in a directory that only this user can enter; an installed form only root can change, who can change this
    // program as well. Files are replaced by rename, never written again.
    unsafe { Component::deserialize_file(runtime.engine(), path) }
}

/// Stores new code under its sealed name.
pub(super) fn keep(dir: &Path, key: &Key, name: &str, code: NamedTempFile) -> io::Result<PathBuf> {
    let seal = key.seal(name, File::open(code.path())?)?;
    let path = dir.join(format!("{name}.{}{SUFFIX}", seal.to_hex()));
    code.as_file().sync_all()?;
    code.persist(&path)?;
    File::open(dir)?.sync_all()?;
    Ok(path)
}

/// Makes room for one more file and removes what an interrupted compilation left. Compiled forms with a name in `pinned`
/// are never removed. The caller holds the lock.
pub(super) fn clean(dir: &Path, pinned: &[String]) -> io::Result<()> {
    let mut kept = Vec::new();
    for found in fs::read_dir(dir)? {
        let found = found?;
        let name = found.file_name();
        if name.to_string_lossy().ends_with(SUFFIX) {
            kept.push((used(&found)?, found.metadata()?.len(), found.path()));
        } else if name != "lock" && name != "key" {
            remove(&found.path())?;
        }
    }
    kept.sort_unstable_by_key(|(used, ..)| std::cmp::Reverse(*used));
    let mut bytes = 0;
    for (at, (_, size, path)) in kept.iter().enumerate() {
        bytes += size;
        let is_pinned = pinned.iter().any(|name| seal_of(path, name).is_some());
        if (at + 1 >= MAX_FILES || bytes > MAX_BYTES) && !is_pinned {
            remove(path)?;
        }
    }
    Ok(())
}

fn used(entry: &DirEntry) -> io::Result<SystemTime> {
    entry.metadata()?.modified()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
