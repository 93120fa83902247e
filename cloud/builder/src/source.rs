//! The author's files, from a folder, a script or sections, and the component that they become.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use iottly_manifest::{MAIN, MAX_SCRIPT_BYTES, MAX_SCRIPT_FILES, Manifest, Script, ScriptError};

use crate::section;

/// Name of the manifest's file.
const MANIFEST: &str = "firmware.toml";
/// Manifest of a script without one: a name, and nothing of the board.
const UNNAMED: &str = "name = \"script\"\nlang = \"js\"\n";
/// Deepest nesting of folders.
const MAX_DEPTH: usize = 16;

/// The author's files and the text of their manifest.
///
/// ```
/// use iottly_builder::Source;
///
/// let source = Source::script("function loop() { send_msg({ temperature: 21 }); return 1000; }");
/// let component = source.component()?;
/// assert!(component.starts_with(b"\0asm"));
/// assert_eq!(component, source.component()?, "equal sources give equal bytes");
/// # Ok::<(), iottly_builder::SourceError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    files: BTreeMap<String, String>,
    sections: Vec<(String, usize)>,
    manifest: String,
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
    /// Folders are nested deeper than allowed.
    #[error("the source has more than 16 folders inside each other")]
    TooDeep,
    /// The files are not those of a script.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// The manifest is wrong.
    #[error("firmware.toml: {0}")]
    Manifest(String),
}

impl Source {
    /// Creates a source of a single script, `main.js`.
    #[must_use]
    pub fn script(text: impl Into<String>) -> Self {
        Self {
            files: BTreeMap::from([(MAIN.to_owned(), text.into())]),
            sections: Vec::new(),
            manifest: UNNAMED.to_owned(),
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
        let source = Self {
            files,
            sections: Vec::new(),
            manifest: String::new(),
        };
        source.with_manifest(manifest_in(dir)?)
    }

    /// Replaces the manifest by a text, which goes into the component as it is.
    ///
    /// # Errors
    /// [`SourceError::Manifest`] if it is not one.
    pub fn with_manifest(self, text: impl Into<String>) -> Result<Self, SourceError> {
        let manifest = text.into();
        Manifest::parse(&manifest).map_err(|error| SourceError::Manifest(error.to_string()))?;
        Ok(Self { manifest, ..self })
    }

    /// Returns the component that the files become: data for the engine of a device, without code. Equal sources give
    /// equal bytes.
    ///
    /// # Errors
    /// [`SourceError::Script`]: a path that no module can have, or more than 256 files or 4 MiB.
    pub fn component(&self) -> Result<Vec<u8>, SourceError> {
        let script = Script {
            engine: iottly_engine::ABI.to_owned(),
            exact: None,
            files: self.files.clone(),
            sections: self.sections.clone(),
        };
        Ok(script.component(&self.manifest)?)
    }

    /// Returns paths and texts, in the order of the paths.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }
}

/// Returns the text of the manifest in a folder.
fn manifest_in(dir: &Path) -> Result<String, SourceError> {
    let path = dir.join(MANIFEST);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(UNNAMED.to_owned()),
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
        return Err(SourceError::TooDeep);
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
            if size > MAX_SCRIPT_BYTES as u64 {
                return Err(ScriptError::TooLarge("4 MiB").into());
            }
            files.insert(relative, fs::read_to_string(&path).map_err(failed(&path))?);
            within_limits(files)?;
        }
    }
    Ok(())
}

/// Refuses more than a script may have, before a whole disk is read.
fn within_limits(files: &BTreeMap<String, String>) -> Result<(), ScriptError> {
    if files.len() > MAX_SCRIPT_FILES {
        return Err(ScriptError::TooLarge("256 files"));
    }
    if files.values().map(String::len).sum::<usize>() > MAX_SCRIPT_BYTES {
        return Err(ScriptError::TooLarge("4 MiB"));
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
        assert_eq!(
            source.files[MAIN],
            "let a = 1;\nlet b;\n\nfunction loop() {\n}\n\nx\n"
        );
        let starts: Vec<_> = source
            .sections
            .iter()
            .map(|(name, line)| (name.as_str(), *line))
            .collect();
        assert_eq!(starts, [("global", 1), ("init", 3), ("loop", 4), ("echo", 7)]);
    }

    #[test]
    fn sections_and_a_folder_with_the_same_content_differ_only_in_the_places_of_sections() {
        const MANIFEST: &str = "name = \"porch\"\n[capabilities]\ngpio = [\"led\"]\n";
        let sections = Source::sections([
            ("global", "let led;\n"),
            ("init", "function init() {\n  led = gpio.output('led');\n}\n"),
            ("set-level", "function set_level() {}\n"),
        ])
        .with_manifest(MANIFEST)
        .unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(MAIN), &sections.files[MAIN]).unwrap();
        fs::write(dir.path().join("firmware.toml"), MANIFEST).unwrap();
        let folder = Source::from_dir(dir.path()).unwrap();
        assert_ne!(sections.component().unwrap(), folder.component().unwrap());
        let plain = Source {
            sections: Vec::new(),
            ..sections
        };
        assert_eq!(plain.component().unwrap(), folder.component().unwrap());
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
        let long = |bytes: usize| "x".repeat(bytes);
        fs::write(dir.path().join("main.js"), long(MAX_SCRIPT_BYTES + 1)).unwrap();
        assert_eq!(
            Source::from_dir(dir.path()).unwrap_err().to_string(),
            "the script has more than 4 MiB"
        );
        assert!(Source::script(long(MAX_SCRIPT_BYTES + 1)).component().is_err());
        assert!(Source::script(long(MAX_SCRIPT_BYTES)).component().is_ok());
    }

    #[test]
    fn a_component_holds_files_sections_and_the_manifest() {
        let source = Source::sections([("global", "let n = 1;"), ("switch", "function switch(c) {}")]);
        let component = source.component().unwrap();
        assert_eq!(iottly_manifest::extract(&component), Ok(Some(UNNAMED)));
        let script = Script::extract(&component).unwrap().unwrap();
        assert_eq!(
            script.sections,
            [("global".to_owned(), 1), ("switch".to_owned(), 2)]
        );
        assert_eq!(
            script.files[MAIN],
            "let n = 1;\ncommands[\"switch\"] = function (c) {}\n"
        );
        let named = source.with_manifest("name = \"fan\"").unwrap();
        let component = named.component().unwrap();
        assert_eq!(iottly_manifest::extract(&component), Ok(Some("name = \"fan\"")));
        assert!(named.with_manifest("nmae = 1").is_err());
    }
}
