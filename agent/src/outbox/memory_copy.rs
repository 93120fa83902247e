//! Copies of segments in memory. Opening a database writes, so one on a full, read-only or failing disk is
//! read from a copy.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Maximum size of a copy, in bytes; far above that of a segment.
const MAX_BYTES: u64 = 32 << 20;
/// Folders in memory, in the order of preference; the last resort is the system's folder for temporary files.
const PLACES: [&str; 2] = ["/dev/shm", "/run"];

/// Copy of a folder; removed when dropped.
pub(super) struct MemoryCopy(PathBuf);

impl MemoryCopy {
    /// Copies the files of a segment. Replaces a copy of the same name that an earlier process left.
    pub(super) fn copy(from: &Path, name: &str) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for place in PLACES
            .map(PathBuf::from)
            .into_iter()
            .chain([std::env::temp_dir()])
        {
            match Self::copy_into(from, place.join(name)) {
                Ok(spare) => return Ok(spare),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn copy_into(from: &Path, to: PathBuf) -> io::Result<Self> {
        match fs::remove_dir_all(&to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // In a shared folder the name may belong to another user: use it only if this call creates it.
        DirBuilder::new().mode(0o700).create(&to)?;
        let spare = Self(to);
        let mut left = MAX_BYTES;
        copy_files(from, &spare.0, &mut left)?;
        let blobs = from.join("blobs");
        if blobs.is_dir() {
            DirBuilder::new().mode(0o700).create(spare.0.join("blobs"))?;
            copy_files(&blobs, &spare.0.join("blobs"), &mut left)?;
        }
        Ok(spare)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for MemoryCopy {
    fn drop(&mut self) {
        // A remaining folder is replaced by the next copy.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Copies the regular files of a folder, at most `left` bytes.
fn copy_files(from: &Path, to: &Path, left: &mut u64) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if !entry.file_type()?.is_file() {
            continue;
        }
        let mut out = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(to.join(entry.file_name()))?;
        let copied = io::copy(&mut File::open(entry.path())?.take(*left + 1), &mut out)?;
        *left = left.checked_sub(copied).ok_or(io::ErrorKind::FileTooLarge)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_replaces_an_earlier_one_and_goes_with_its_owner() {
        let dir = tempfile::tempdir().expect("dir");
        fs::create_dir(dir.path().join("blobs")).expect("folder");
        fs::write(dir.path().join("db"), b"database").expect("file");
        fs::write(dir.path().join("blobs/1"), b"blob").expect("file");
        let name = format!("iottly-test-{}", std::process::id());
        let first = MemoryCopy::copy(dir.path(), &name).expect("copied");
        let place = first.path().to_owned();
        // A killed process leaves its copy behind.
        std::mem::forget(first);
        fs::write(place.join("db"), b"old").expect("file");
        let second = MemoryCopy::copy(dir.path(), &name).expect("copied again");
        assert_eq!(
            (second.path(), fs::read(place.join("db")).expect("read")),
            (place.as_path(), b"database".to_vec())
        );
        assert_eq!(fs::read(place.join("blobs/1")).expect("read"), b"blob");
        drop(second);
        assert!(!place.exists());
        File::create(dir.path().join("large"))
            .and_then(|file| file.set_len(50 << 30))
            .expect("sparse");
        assert!(MemoryCopy::copy(dir.path(), &name).is_err(), "too large");
        assert!(!place.exists());
    }
}
