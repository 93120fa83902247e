//! Small files of the data folder, read and written so that an unexpected file neither blocks nor fills the
//! memory.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// Opens a regular file for reading, without blocking on a pipe.
///
/// # Errors
/// If the path is not a regular file or cannot be opened.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"))
}

/// Reads a regular file of at most `max` bytes.
pub(crate) fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("larger than {max} bytes"),
        ));
    }
    Ok(bytes)
}

/// Replaces a file atomically: after a power cut it is the old or the new one.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    if fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir()) {
        put_aside(path)?;
    }
    fs::rename(&fresh, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// Creates an empty file, removing whatever has its name.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    remove(path)?;
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
}

/// Renames a file or folder to `NAME.foreign`, replacing an earlier one. Returns the new path.
pub(crate) fn put_aside(path: &Path) -> io::Result<PathBuf> {
    let mut name = OsString::from(path);
    name.push(".foreign");
    let aside = PathBuf::from(name);
    rename_over(path, &aside)?;
    Ok(aside)
}

/// Renames a file or folder, replacing whatever has the new name.
pub(crate) fn rename_over(from: &Path, to: &Path) -> io::Result<()> {
    remove(to)?;
    fs::rename(from, to)
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Creates a named pipe: opening it in the usual way blocks until another process opens it.
    pub(crate) fn pipe(path: &Path) {
        let made = std::process::Command::new("mkfifo")
            .arg(path)
            .status()
            .expect("mkfifo");
        assert!(made.success());
    }

    #[test]
    fn odd_files_are_errors_at_once() {
        let dir = tempfile::tempdir().expect("dir");
        let path = |name| dir.path().join(name);
        pipe(&path("pipe"));
        fs::create_dir(path("folder")).expect("folder");
        File::create(path("large"))
            .and_then(|file| file.set_len(50 << 30))
            .expect("sparse");
        for name in ["pipe", "folder", "large", "missing"] {
            assert!(read(&path(name), 1000).is_err(), "{name}");
        }
        assert!(read(Path::new("/dev/zero"), 1000).is_err());
        fs::write(path("whole"), [7; 1000]).expect("written");
        assert_eq!(read(&path("whole"), 1000).expect("read").len(), 1000);
        assert!(read(&path("whole"), 999).is_err());
    }

    #[test]
    fn a_file_is_replaced_whatever_is_in_the_way() {
        let dir = tempfile::tempdir().expect("dir");
        for kind in ["pipe", "folder", "file", "link"] {
            let place = dir.path().join(kind);
            for name in [place.clone(), place.with_extension("new")] {
                match kind {
                    "pipe" => pipe(&name),
                    "folder" => fs::create_dir(&name)
                        .and_then(|()| fs::write(name.join("x"), "x"))
                        .expect("folder"),
                    "link" => std::os::unix::fs::symlink("/dev/full", &name).expect("link"),
                    _ => fs::write(&name, "old").expect("file"),
                }
            }
            replace(&place, b"new").expect(kind);
            assert_eq!(read(&place, 10).expect(kind), b"new", "{kind}");
        }
    }
}
