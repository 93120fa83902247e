//! The file system of an update: an interface and its implementation on a folder. Knows nothing of what the
//! files hold.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::regular;

/// File system of an update. Names are paths within the device's folder, most of them in `update/`.
pub trait Disk {
    /// Reads a file of at most `limit` bytes; none if there is no such file.
    ///
    /// # Errors
    /// The file system fails; [`io::ErrorKind::InvalidData`] if the file is longer or not a regular file.
    fn read(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>>;
    /// Reads up to `len` bytes from an offset; fewer at the end of the file, none without a file.
    ///
    /// # Errors
    /// The file system fails.
    fn read_at(&self, name: &str, offset: u64, len: u64) -> io::Result<Vec<u8>>;
    /// Writes bytes at an offset; creates the file if there is none.
    ///
    /// # Errors
    /// The file system fails.
    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes a file's bytes and length durable.
    ///
    /// # Errors
    /// The file system fails.
    fn sync(&mut self, name: &str) -> io::Result<()>;
    /// Renames a file, replacing an existing one of the new name.
    ///
    /// # Errors
    /// The file system fails.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file, if there is one.
    ///
    /// # Errors
    /// The file system fails.
    fn remove(&mut self, name: &str) -> io::Result<()>;
    /// Makes all names durable.
    ///
    /// # Errors
    /// The file system fails.
    fn sync_names(&mut self) -> io::Result<()>;
    /// Returns the free space in bytes.
    ///
    /// # Errors
    /// The file system fails.
    fn free(&self) -> io::Result<u64>;
}

/// Maximum number of names in `update/` that are checked; the agent uses ten.
const MAX_ENTRIES: usize = 1000;

/// The device's folder on the system's disk.
#[derive(Debug, Clone)]
pub struct SystemDisk {
    root: PathBuf,
}

impl SystemDisk {
    /// Opens the device's folder and creates `update/` in it. Anything with a name of the update's files that
    /// is not a regular file is put aside.
    ///
    /// # Errors
    /// The folder cannot be created.
    pub fn open(root: &Path) -> io::Result<Self> {
        let folder = root.join("update");
        if fs::metadata(&folder).is_ok_and(|meta| !meta.is_dir()) {
            regular::put_aside(&folder)?;
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)?;
        for entry in fs::read_dir(&folder)?.take(MAX_ENTRIES) {
            let path = entry?.path();
            let is_aside = path.extension().is_some_and(|extension| extension == "odd");
            // A link counts as what it leads to.
            if !is_aside && !fs::metadata(&path).is_ok_and(|meta| meta.is_file()) {
                regular::put_aside(&path)?;
            }
        }
        File::open(root)?.sync_all()?;
        Ok(Self {
            root: root.to_owned(),
        })
    }

    /// Returns the path of a file.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

fn absent<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

impl Disk for SystemDisk {
    fn read(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        absent(regular::read_file(&self.path(name), limit))
    }

    fn read_at(&self, name: &str, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        let Some(file) = absent(regular::open(&self.path(name)))? else {
            return Ok(Vec::new());
        };
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read_at(&mut bytes[filled..], offset + filled as u64)? {
                0 => break,
                count => filled += count,
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let file = options
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.path(name))?;
        file.write_all_at(bytes, offset)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        regular::open(&self.path(name))?.sync_all()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        absent(fs::remove_file(self.path(name))).map(drop)
    }

    fn sync_names(&mut self) -> io::Result<()> {
        File::open(self.path("update"))?.sync_all()?;
        File::open(&self.root)?.sync_all()
    }

    fn free(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.root)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}
