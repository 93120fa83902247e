//! The author's files, from a folder, a script or sections, checked against limits.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use iottly_manifest::Manifest;

use crate::section;

/// Name of the script that the engine starts.
pub(crate) const MAIN: &str = "main.js";
/// Name of the manifest's file.
const MANIFEST: &str = "firmware.toml";
/// Folder of our own modules, beside the author's.
pub(crate) const OURS: &str = "__iottly";
/// Largest number of files.
const MAX_FILES: usize = 256;
/// Largest size of all files together, in bytes.
const MAX_BYTES: usize = 4 << 20;
/// Deepest nesting of folders.
const MAX_DEPTH: usize = 16;

/// The author's files, complete and within limits: at most 256 files and 4 MiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    files: BTreeMap<String, String>,
    sections: Vec<(String, usize)>,
    manifest: Manifest,
}

/// Reason why files are not the source of a firmware.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// There is no `main.js`.
    #[error("{}: no main.js in this folder", .0.display())]
    NoMain(PathBuf),
    /// A file or folder cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// More, larger or deeper files than allowed.
    #[error("the source has more than {limit}")]
    TooLarge {
        /// Exceeded limit.
        limit: &'static str,
    },
    /// The manifest is wrong.
    #[error("firmware.toml: {0}")]
    Manifest(String),
    /// A name that is reserved or that no module can have.
    #[error("{0}: not a valid name of a module")]
    Name(String),
}

impl Source {
    /// Creates a source of a single script, `main.js`.
    #[must_use]
    pub fn script(text: impl Into<String>) -> Self {
        Self {
            files: BTreeMap::from([(MAIN.to_owned(), text.into())]),
            sections: Vec::new(),
            manifest: Manifest::default(),
        }
    }

    /// Creates a source of sections by name and text, in the order in which they are joined: `global`, `init`, `loop`,
    /// then the handlers.
    ///
    /// They share one scope; errors name the section and the line in it. The handler of a command whose name no
    /// function can have goes into the table `commands`, so that every valid name can be built and none hides a name
    /// of the platform.
    #[must_use]
    pub fn sections<'a>(sections: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let (mut script, mut starts, mut line) = (String::new(), Vec::new(), 1);
        for (name, text) in sections {
            starts.push((name.to_owned(), line));
            script.push_str(&section::handler(name, text));
            script.push('\n');
            line += text.matches('\n').count() + 1;
        }
        Self {
            sections: starts,
            ..Self::script(script)
        }
    }

    /// Reads the scripts in a folder: `main.js` and every `.js` or `.mjs` file that it may import, but no hidden
    /// folders, no `target` and no symbolic links. A `firmware.toml` names what the firmware may use of a board;
    /// without it that is nothing.
    ///
    /// # Errors
    /// [`SourceError`]: no `main.js`, too much, unreadable, or a wrong manifest.
    pub fn from_dir(dir: impl AsRef<Path>) -> Result<Self, SourceError> {
        let dir = dir.as_ref();
        let mut files = BTreeMap::new();
        collect(dir, "", 0, &mut files)?;
        if !files.contains_key(MAIN) {
            return Err(SourceError::NoMain(dir.to_owned()));
        }
        let manifest = manifest_in(dir)?;
        Ok(Self {
            files,
            sections: Vec::new(),
            manifest,
        })
    }

    /// Replaces the manifest.
    #[must_use]
    pub fn with_manifest(self, manifest: Manifest) -> Self {
        Self { manifest, ..self }
    }

    pub(crate) const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns paths and texts, in the order of the paths.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Checks sizes and names.
    pub(crate) fn check(&self) -> Result<(), SourceError> {
        for path in self.files.keys() {
            let plain = Path::new(path)
                .components()
                .all(|part| matches!(part, Component::Normal(_)));
            if !plain || path.starts_with(OURS) {
                return Err(SourceError::Name(path.clone()));
            }
        }
        within_limits(&self.files)
    }

    /// Returns the names of the sections and the lines of `main.js` at which they begin, counted from 1; empty for
    /// files.
    pub(crate) fn section_starts(&self) -> &[(String, usize)] {
        &self.sections
    }

    pub(crate) fn main(&self) -> &str {
        &self.files[MAIN]
    }
}

fn manifest_in(dir: &Path) -> Result<Manifest, SourceError> {
    let path = dir.join(MANIFEST);
    match fs::read_to_string(&path) {
        Ok(text) => Manifest::parse(&text).map_err(|error| SourceError::Manifest(error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Manifest::default()),
        Err(source) => Err(SourceError::Read { path, source }),
    }
}

fn collect(
    dir: &Path,
    prefix: &str,
    depth: usize,
    files: &mut BTreeMap<String, String>,
) -> Result<(), SourceError> {
    if depth > MAX_DEPTH {
        return Err(SourceError::TooLarge {
            limit: "16 folders inside each other",
        });
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| SourceError::Read { path, source }
    };
    for entry in fs::read_dir(dir).map_err(failed(dir))? {
        let entry = entry.map_err(failed(dir))?;
        let path = entry.path();
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let kind = entry.file_type().map_err(failed(&path))?;
        let relative = format!("{prefix}{name}");
        if kind.is_dir() && !name.starts_with('.') && relative != "target" {
            collect(&path, &format!("{relative}/"), depth + 1, files)?;
        } else if kind.is_file() && (name.ends_with(".js") || name.ends_with(".mjs")) {
            let size = entry.metadata().map_err(failed(&path))?.len();
            if size > MAX_BYTES as u64 {
                return Err(SourceError::TooLarge { limit: "4 MiB" });
            }
            files.insert(relative, fs::read_to_string(&path).map_err(failed(&path))?);
            within_limits(files)?;
        }
    }
    Ok(())
}

fn within_limits(files: &BTreeMap<String, String>) -> Result<(), SourceError> {
    if files.len() > MAX_FILES {
        return Err(SourceError::TooLarge { limit: "256 files" });
    }
    if files.values().map(String::len).sum::<usize>() > MAX_BYTES {
        return Err(SourceError::TooLarge { limit: "4 MiB" });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_know_where_they_begin() {
        let source = Source::sections([
            ("global", "let a = 1;\nlet b;"),
            ("init", ""),
            ("loop", "function loop() {\n}\n"),
            ("echo", "x"),
        ]);
        assert_eq!(source.main(), "let a = 1;\nlet b;\n\nfunction loop() {\n}\n\nx\n");
        let starts: Vec<_> = source
            .section_starts()
            .iter()
            .map(|(name, line)| (name.as_str(), *line))
            .collect();
        assert_eq!(starts, [("global", 1), ("init", 3), ("loop", 4), ("echo", 7)]);
    }

    #[test]
    fn a_folder_gives_its_scripts_only() {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("main.js", "1"),
            ("lib/a.mjs", "2"),
            ("notes.txt", "3"),
            (".git/x.js", "4"),
            ("target/y.js", "5"),
            ("lib/target/z.js", "6"),
        ] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("passwd.js")).unwrap();
        let source = Source::from_dir(dir.path()).unwrap();
        assert_eq!(
            source.files().collect::<Vec<_>>(),
            [("lib/a.mjs", "2"), ("lib/target/z.js", "6"), ("main.js", "1")]
        );
    }

    #[test]
    fn too_much_and_nothing_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(
            Source::from_dir(dir.path())
                .unwrap_err()
                .to_string()
                .ends_with("no main.js in this folder")
        );
        fs::write(dir.path().join("main.js"), "x".repeat(MAX_BYTES + 1)).unwrap();
        assert_eq!(
            Source::from_dir(dir.path()).unwrap_err().to_string(),
            "the source has more than 4 MiB"
        );
        assert!(Source::script("x".repeat(MAX_BYTES + 1)).check().is_err());
        assert!(Source::script("x".repeat(MAX_BYTES)).check().is_ok());
    }
}
