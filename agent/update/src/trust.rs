//! The device's store of trusted metadata. Verifies nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use iottly_protocol::tuf::{Store, quote, sha256_hex};

use crate::regular::{put_aside, read_file};

/// Maximum size of an encoded role name that becomes a file name unchanged; longer ones are cut and made
/// unique by their digest.
const MAX_NAME: usize = 180;

/// Maximum size of a file in bytes: more than any metadata may have.
const MAX_BYTES: u64 = 8 << 20;
/// Maximum number of entries of the folder that are checked when it is opened.
const MAX_ENTRIES: usize = 10_000;

/// Trusted metadata in a folder: one file a role, byte for byte as it was received.
#[derive(Debug, Clone)]
pub struct TrustFolder {
    path: PathBuf,
}

impl TrustFolder {
    /// Returns the store in a folder, which need not exist yet.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// Puts aside what has the folder's name but is not a folder, and what is in the folder but not a regular
    /// file.
    ///
    /// # Errors
    /// The file system fails.
    pub fn tidy(&self) -> io::Result<()> {
        match fs::metadata(&self.path) {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => return put_aside(&self.path).map(drop),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e),
        }
        for entry in fs::read_dir(&self.path)?.take(MAX_ENTRIES) {
            let path = entry?.path();
            let is_aside = path.extension().is_some_and(|extension| extension == "odd");
            if !is_aside && !fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() <= MAX_BYTES) {
                put_aside(&path)?;
            }
        }
        Ok(())
    }

    fn file(&self, role: &str) -> PathBuf {
        self.path.join(format!("{}.json", file_name(role)))
    }
}

/// Returns a file name for any name, the same for the same name.
#[must_use]
pub fn file_name(name: &str) -> String {
    let quoted = quote(name);
    if quoted.len() <= MAX_NAME && !quoted.starts_with('.') {
        return quoted;
    }
    // Every character is a byte here.
    let head: String = quoted
        .trim_start_matches('.')
        .chars()
        .take(MAX_NAME - 65)
        .collect();
    format!("{head}-{}", sha256_hex(name.as_bytes()))
}

impl Store for TrustFolder {
    fn get(&mut self, role: &str) -> io::Result<Option<Vec<u8>>> {
        match read_file(&self.file(role), MAX_BYTES) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn put(&mut self, role: &str, bytes: &[u8]) -> io::Result<()> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)?;
        replace(&self.file(role), bytes)
    }

    fn remove(&mut self, role: &str) -> io::Result<()> {
        match fs::remove_file(self.file(role)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        }
        File::open(&self.path)?.sync_all()
    }
}

/// Replaces a file atomically; durable once it returns.
///
/// # Errors
/// The file system fails.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    // The old entry is not written through: it may be a pipe.
    match fs::remove_file(&new) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_apart_and_inside_the_folder() {
        let dir = tempfile::tempdir().expect("dir");
        let mut store = TrustFolder::new(&dir.path().join("trust"));
        let long = "r".repeat(1000);
        let names = [
            "targets",
            "../targets",
            ".",
            "..",
            "a/b",
            "a%2Fb",
            &long,
            &format!("{long}x"),
            ".hidden",
        ];
        for name in names {
            assert_eq!(store.get(name).expect("read"), None);
            store.put(name, name.as_bytes()).expect("write");
        }
        for name in names {
            assert_eq!(store.get(name).expect("read").as_deref(), Some(name.as_bytes()));
        }
        assert_eq!(fs::read_dir(dir.path()).expect("dir").count(), 1);
        store.remove("targets").expect("removed");
        store.remove("targets").expect("nothing to remove");
        assert_eq!(store.get("targets").expect("read"), None);
    }
}
