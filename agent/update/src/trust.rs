use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use iottly_protocol::tuf::{Store, quote, sha256_hex};

/// Longest name of a role, encoded, that becomes a file name as it is; longer ones are cut and told apart by their digest.
const MAX_NAME: usize = 180;

/// Trusted metadata in a folder: one file a role, byte for byte as it was received.
#[derive(Debug, Clone)]
pub struct TrustFolder {
    path: PathBuf,
}

impl TrustFolder {
    /// Uses a folder, which need not exist yet.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    fn file(&self, role: &str) -> PathBuf {
        self.path.join(format!("{}.json", file_name(role)))
    }
}

/// One part of a path for any name, the same for the same name.
#[must_use]
pub fn file_name(name: &str) -> String {
    let quoted = quote(name);
    if quoted.len() <= MAX_NAME && !quoted.starts_with('.') {
        return quoted;
    }
    // Every character is a byte here.
    let head: String = quoted.trim_start_matches('.').chars().take(MAX_NAME - 65).collect();
    format!("{head}-{}", sha256_hex(name.as_bytes()))
}

impl Store for TrustFolder {
    fn get(&mut self, role: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.file(role)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn put(&mut self, role: &str, bytes: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.path)?;
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

/// Puts a file in another's place: durable when it returns, and never half of it.
///
/// # Errors
/// When the file system fails.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
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
        let names = ["targets", "../targets", ".", "..", "a/b", "a%2Fb", &long, &format!("{long}x"), ".hidden"];
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
