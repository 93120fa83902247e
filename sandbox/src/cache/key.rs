//! The key of a cache, with which compiled code is sealed. It never leaves the cache's directory.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use tempfile::NamedTempFile;

const KEY_BYTES: usize = 32;

/// Secret of the directory.
pub(super) struct Key([u8; KEY_BYTES]);

impl Key {
    /// Key of compiled forms that are installed with the program. It is no secret: the seal shows damage, and the owner of
    /// the files vouches for them.
    pub(super) const NONE: Self = Self([0; KEY_BYTES]);

    /// Reads the key or creates one. A damaged key is replaced, and what was sealed with it is compiled
    /// again. The caller holds the lock.
    pub(super) fn load_or_create(dir: &Path) -> io::Result<Self> {
        let path = dir.join("key");
        match fs::read(&path) {
            Ok(bytes) => match bytes.try_into() {
                Ok(key) => return Ok(Self(key)),
                Err(_) => {
                    tracing::warn!(cache.path = %path.display(), "the cache's key is damaged; compiling all firmware again with a new one")
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut key = [0; KEY_BYTES];
        getrandom::fill(&mut key).map_err(io::Error::other)?;
        let mut file = NamedTempFile::new_in(dir)?;
        file.write_all(&key)?;
        file.as_file().sync_all()?;
        file.persist(&path)?;
        File::open(dir)?.sync_all()?;
        Ok(Self(key))
    }

    /// Seals `content` as the compiled form called `name`.
    pub(super) fn seal(&self, name: &str, mut content: impl Read) -> io::Result<blake3::Hash> {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&u64::try_from(name.len()).expect("names are short").to_le_bytes());
        hasher.update(name.as_bytes());
        hasher.update_reader(&mut content)?;
        Ok(hasher.finalize())
    }
}
