//! Targets of a run: a folder with firmware, a lone script, or a component.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context;

use super::is_wasm;
use crate::build::{self, MANIFEST, Project};
use crate::exit::Failure;

/// Largest number of watched files.
const MAX_FILES: usize = 1000;

/// Target of `iottly run`.
pub(crate) enum Target {
    /// A folder with a `firmware.toml`.
    Project(Project),
    /// A script without a folder of its own.
    Script(PathBuf),
    /// A finished component.
    Component(PathBuf),
}

/// Names, sizes and times of the source files; differs when one of them was saved.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Fingerprint(Vec<(PathBuf, u64, Option<SystemTime>)>);

impl Target {
    /// Returns the target at `path`.
    ///
    /// # Errors
    /// [`Failure::NotFound`] when there is nothing at `path`, [`Failure::Invalid`] when it cannot be run.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let Ok(found) = fs::metadata(path) else {
            return Err(Failure::NotFound(format!(
                "{}: no such file or folder",
                path.display()
            )));
        };
        if found.is_dir() {
            return Project::open(path).map(Self::Project);
        }
        let ending = path.extension().and_then(|ending| ending.to_str());
        match ending {
            Some("wasm") => Ok(Self::Component(path.to_owned())),
            Some("js" | "mjs") => {
                let dir = path
                    .parent()
                    .filter(|dir| !dir.as_os_str().is_empty())
                    .unwrap_or(Path::new("."));
                let is_main = path.file_name().is_some_and(|name| name == "main.js");
                if is_main && dir.join(MANIFEST).exists() {
                    return Project::open(dir).map(Self::Project);
                }
                Ok(Self::Script(path.to_owned()))
            }
            _ => Err(Failure::Invalid(format!(
                "{}: not a folder, a script (.js) or a component (.wasm)",
                path.display()
            ))),
        }
    }

    /// Builds or reads the component.
    pub(crate) fn component(&self) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Project(project) => fs::read(build::write(project)?)
                .context("cannot read the built component")
                .map_err(Failure::Failed),
            Self::Script(path) => build::lone_script(path),
            Self::Component(path) => {
                Ok(fs::read(path).with_context(|| format!("cannot read {}", path.display()))?)
            }
        }
    }

    /// Returns the current state of the files.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let mut files = Vec::new();
        match self {
            Self::Project(project) => collect(&project.dir, true, &mut files),
            Self::Script(path) | Self::Component(path) => note(path, &mut files),
        }
        files.sort_unstable();
        Fingerprint(files)
    }
}

fn note(path: &Path, files: &mut Vec<(PathBuf, u64, Option<SystemTime>)>) {
    // A file that is being replaced is noticed at the next interval.
    if let Ok(found) = fs::metadata(path) {
        files.push((path.to_owned(), found.len(), found.modified().ok()));
    }
}

/// Collects all files but hidden ones, build results and components.
fn collect(dir: &Path, top: bool, files: &mut Vec<(PathBuf, u64, Option<SystemTime>)>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if files.len() >= MAX_FILES || name.to_string_lossy().starts_with('.') || (top && name == "target") {
            continue;
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => collect(&entry.path(), false, files),
            // cargo rewrites its lock file while it builds.
            Ok(kind) if kind.is_file() && name != "Cargo.lock" && !is_wasm(&entry.path()) => {
                note(&entry.path(), files)
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sources_change_the_fingerprint() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("firmware.toml", "name = \"a\"\nlang = \"js\"\n");
        put("main.js", "1");
        let target = Target::open(dir.path()).unwrap_or_else(|error| panic!("{error}"));
        let before = target.fingerprint();
        put("target/a.wasm", "x");
        put(".git/index", "x");
        put("Cargo.lock", "x");
        assert_eq!(target.fingerprint(), before);
        put("lib/a.js", "x");
        let with_module = target.fingerprint();
        assert_ne!(with_module, before);
        put("main.js", "12");
        assert_ne!(target.fingerprint(), with_module);
    }
}
