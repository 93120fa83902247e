//! A folder with firmware, described by its `firmware.toml`.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use iottly_manifest::{Lang, Manifest};

use crate::exit::Failure;
use crate::init::name;

/// Name of the manifest, which marks a folder as firmware.
pub(crate) const MANIFEST: &str = "firmware.toml";
/// Longest manifest, in bytes.
const MAX_MANIFEST: u64 = 64 << 10;

/// A folder with firmware.
#[derive(Debug)]
pub(crate) struct Project {
    /// Path of the folder.
    pub(crate) dir: PathBuf,
    /// Name of the firmware; its component is `target/NAME.wasm`.
    pub(crate) name: String,
    /// Language of the source.
    pub(crate) language: Lang,
    /// Text of the manifest, which is put into the component.
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
                let hint = "`iottly init NAME --lang js` creates a folder with one";
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
        // Without `lang`, a crate is Rust and anything else is a script.
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

    /// Returns the path of the component.
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
            "the file has more than {MAX_MANIFEST} bytes"
        )));
    }
    Ok(text)
}

/// Replaces the file at `path` in one step, so that readers get the old or the new content.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let dir = path.parent().expect("firmware's files are in a folder");
    fs::create_dir_all(dir)?;
    let mut file = tempfile::Builder::new()
        .prefix(".iottly-")
        .permissions(permissions())
        .tempfile_in(dir)?;
    std::io::Write::write_all(&mut file, bytes)?;
    file.persist(path)?;
    Ok(())
}

/// Returns the permissions of built firmware: temporary files would be private.
fn permissions() -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o644)
}
