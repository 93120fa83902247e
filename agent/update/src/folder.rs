//! A release repository in a folder. Verifies nothing.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use iottly_protocol::tuf::{Fetch, FetchError, Place};

use crate::regular;

/// Repository in a folder, for instance on a stick: `metadata/` and `targets/` as a web server would serve
/// them.
#[derive(Debug, Clone)]
pub struct FolderRepository {
    path: PathBuf,
}

impl FolderRepository {
    /// Returns the repository in this folder.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    fn file(&self, folder: &str, name: &str) -> Result<File, FetchError> {
        // Names are those of a web server: encoded, and never outside of the folder.
        let decoded = decode(name).ok_or(FetchError::NotFound)?;
        if decoded.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(FetchError::NotFound);
        }
        let as_is = self.path.join(folder).join(name);
        let path = if as_is.is_file() {
            as_is
        } else {
            self.path.join(folder).join(decoded)
        };
        match regular::open(&path) {
            Ok(file) => Ok(file),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {
                Err(FetchError::NotFound)
            }
            Err(e) => Err(FetchError::Failed(e.to_string())),
        }
    }

    /// Opens a file in another of the repository's folders.
    pub(crate) fn beside(&self, folder: &str, name: &str) -> Result<Box<dyn Read>, FetchError> {
        Ok(Box::new(self.file(folder, name)?))
    }

    /// Reads some bytes of a target, named by its encoded path.
    ///
    /// # Errors
    /// The folder does not have the file or cannot be read.
    pub fn range(&self, path: &str, from: u64, length: u64) -> Result<Box<dyn Read>, FetchError> {
        let mut file = self.file("targets", path)?;
        file.seek(SeekFrom::Start(from))
            .map_err(|e| FetchError::Failed(e.to_string()))?;
        Ok(Box::new(file.take(length)))
    }
}

/// Decodes percent escapes; none if the bytes are not text.
fn decode(name: &str) -> Option<String> {
    let bytes = name.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let pair = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let escaped = pair
            .and_then(|pair| std::str::from_utf8(pair).ok())
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        out.push(escaped.unwrap_or(bytes[at]));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8(out).ok()
}

impl Fetch for FolderRepository {
    fn open(&mut self, place: Place<'_>) -> Result<Box<dyn Read + '_>, FetchError> {
        let file = match place {
            Place::Metadata(name) => self.file("metadata", name)?,
            Place::Target(path) => self.file("targets", path)?,
        };
        Ok(Box::new(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_under_either_name_and_never_outside() {
        let dir = tempfile::tempdir().expect("dir");
        std::fs::create_dir_all(dir.path().join("metadata")).expect("folder");
        std::fs::create_dir_all(dir.path().join("targets/app")).expect("folder");
        std::fs::write(dir.path().join("metadata/1.a%2Fb.json"), "role").expect("file");
        std::fs::write(dir.path().join("targets/app/x y"), "target").expect("file");
        std::fs::write(dir.path().join("secret"), "secret").expect("file");
        let mut repository = FolderRepository::new(dir.path());
        let mut read = |place: Place<'_>| -> Result<String, FetchError> {
            let mut text = String::new();
            repository.open(place)?.read_to_string(&mut text).expect("text");
            Ok(text)
        };
        assert_eq!(read(Place::Metadata("1.a%2Fb.json")).expect("quoted"), "role");
        assert_eq!(read(Place::Target("app/x%20y")).expect("decoded"), "target");
        for outside in [
            "../secret",
            "%2e%2e/secret",
            "a/../../secret",
            "/etc/passwd",
            "..%2Fsecret",
        ] {
            assert_eq!(
                read(Place::Target(outside)),
                Err(FetchError::NotFound),
                "{outside}"
            );
        }
        let mut part = String::new();
        repository
            .range("app/x%20y", 2, 3)
            .expect("range")
            .read_to_string(&mut part)
            .expect("text");
        assert_eq!(part, "rge");
    }
}
