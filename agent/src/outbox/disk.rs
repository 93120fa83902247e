//! File system operations of the queue beside those of sled: everything that makes bytes and names durable.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Space of a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Space {
    /// Free space.
    pub(super) free: u64,
    /// Total space.
    pub(super) total: u64,
}

/// File system, replaced in tests by one whose power is cut.
pub(super) trait Disk: Send + Sync {
    /// Makes a file's bytes durable.
    fn sync_file(&self, path: &Path, file: &File) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
    /// Overwrites bytes of a file.
    fn write_at(&self, path: &Path, file: &File, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Removes a folder with everything in it.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;
    /// Renames a file or folder.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Returns the space of the file system.
    fn space(&self, path: &Path) -> io::Result<Space>;
}

/// File system of the operating system.
pub(super) struct SystemDisk;

impl Disk for SystemDisk {
    fn sync_file(&self, _: &Path, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn write_at(&self, _: &Path, file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        let mut attempts = 0;
        loop {
            match fs::remove_dir_all(path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
                // sled's own threads may still be closing the database.
                Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty && attempts < 10 => attempts += 1,
                done => return done,
            }
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(Space {
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
        })
    }
}

/// Returns the size of a file or folder on disk, in bytes; unreadable parts count as 0.
pub(super) fn disk_bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(meta) = fs::symlink_metadata(path) else {
        return 0;
    };
    let own = meta.blocks() * 512;
    if !meta.is_dir() {
        return own;
    }
    own + fs::read_dir(path)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| disk_bytes(&entry.path()))
        .sum::<u64>()
}
