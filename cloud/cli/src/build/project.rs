//! A folder with a firmware's source: `firmware.toml` says what it is.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use iottly_manifest::{Lang, Manifest};

use crate::exit::Failure;
use crate::init::name;

/// The file that makes a folder a firmware's.
pub(crate) const MANIFEST: &str = "firmware.toml";
/// Longest manifest, in bytes.
const MAX_MANIFEST: u64 = 64 << 10;

/// A firmware's folder.
#[derive(Debug)]
pub(crate) struct Project {
    /// The folder.
    pub(crate) dir: PathBuf,
    /// The firmware's name; its component is `target/NAME.wasm`.
    pub(crate) name: String,
    /// What it is written in.
    pub(crate) language: Lang,
    /// The text of its manifest; travels inside the component.
    pub(crate) manifest: String,
}

impl Project {
    /// Reads the manifest in `dir`.
    ///
    /// # Errors
    /// [`Failure::NotFound`] without a manifest, [`Failure::Invalid`] when it is wrong.
    pub(crate) fn open(dir: &Path) -> Result<Self, Failure> {
        let path = dir.join(MANIFEST);
        let text = match read(&path) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                let hint = "`iottly init NAME --lang js` makes a folder with one";
                return Err(Failure::NotFound(format!(
                    "{}: no such file; {hint}",
                    path.display()
                )));
            }
            Err(error) => return Err(Failure::Invalid(format!("{}: {error}", path.display()))),
        };
        let invalid = |reason: String| Failure::Invalid(format!("{}: {reason}", path.display()));
        let manifest = Manifest::parse(&text).map_err(|error| invalid(error.to_string()))?;
        name::check(&manifest.name).map_err(invalid)?;
        // Without a word about it, a crate is Rust and anything else is a script.
        let by_files = if dir.join("Cargo.toml").exists() {
            Lang::Rust
        } else {
            Lang::Js
        };
        Ok(Self {
            dir: dir.to_owned(),
            name: manifest.name,
            language: manifest.lang.unwrap_or(by_files),
            manifest: text,
        })
    }

    /// Where the component belongs.
    pub(crate) fn wasm(&self) -> PathBuf {
        self.dir.join("target").join(format!("{}.wasm", self.name))
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(MAX_MANIFEST + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > MAX_MANIFEST {
        return Err(std::io::Error::other(format!(
            "it has more than {MAX_MANIFEST} bytes"
        )));
    }
    Ok(text)
}

/// Puts `bytes` at `path` in one step, so that whoever reads it gets the old or the new content.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let dir = path.parent().expect("a firmware's files lie in a folder");
    fs::create_dir_all(dir)?;
    let mut file = tempfile::Builder::new()
        .prefix(".iottly-")
        .permissions(permissions())
        .tempfile_in(dir)?;
    std::io::Write::write_all(&mut file, bytes)?;
    file.persist(path)?;
    Ok(())
}

/// Temporary files are private by default; a built firmware is as readable as any other file.
fn permissions() -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o644)
}
