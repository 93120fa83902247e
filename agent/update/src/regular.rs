//! Safe access to files: the type of a path's content is checked before it is read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Opens a regular file for reading, through links. Never blocks: a pipe or a device is refused.
///
/// # Errors
/// The file system fails; [`io::ErrorKind::InvalidData`] if the path is not a regular file.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = (rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY).bits();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.cast_signed())
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"));
    }
    Ok(file)
}

/// Reads a whole regular file of at most `limit` bytes. The length that the file system names is not trusted.
///
/// # Errors
/// The file system fails; [`io::ErrorKind::InvalidData`] if the file is longer or not a regular file.
pub fn read_file(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let too_long = |length: u64| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{length} bytes are over the limit of {limit}"),
        )
    };
    let length = file.metadata()?.len();
    if length > limit {
        return Err(too_long(length));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(too_long(bytes.len() as u64));
    }
    Ok(bytes)
}

/// Renames the content of a path to `NAME.odd` beside it, replacing what was put aside there before. Returns
/// the new path.
///
/// # Errors
/// The file system fails.
pub fn put_aside(path: &Path) -> io::Result<PathBuf> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".odd");
    let aside = path.with_file_name(name);
    let removed = match fs::symlink_metadata(&aside) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(&aside),
        Ok(_) => fs::remove_file(&aside),
        Err(_) => Ok(()),
    };
    removed?;
    fs::rename(path, &aside)?;
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_within_the_limit_are_read() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("x");
        fs::write(&path, "12345").expect("written");
        assert_eq!(read_file(&path, 5).expect("read"), b"12345");
        let kind = |path: &Path| read_file(path, 4).expect_err("refused").kind();
        assert_eq!(kind(&path), io::ErrorKind::InvalidData);
        assert_eq!(kind(dir.path()), io::ErrorKind::InvalidData);
        assert_eq!(kind(Path::new("/dev/zero")), io::ErrorKind::InvalidData);
        assert_eq!(kind(&dir.path().join("none")), io::ErrorKind::NotFound);
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from(0o600),
            0,
        )
        .expect("pipe");
        assert_eq!(
            kind(&pipe),
            io::ErrorKind::InvalidData,
            "and the open does not block"
        );
        // A file without an end whose length reads 0.
        assert!(read_file(Path::new("/proc/self/maps"), 10).is_err());
    }

    #[test]
    fn what_is_put_aside_replaces_what_was_put_aside_before() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("clock");
        for round in 0..3 {
            if round == 1 {
                fs::create_dir_all(path.join("inside")).expect("folder");
            } else {
                fs::write(&path, [round]).expect("file");
            }
            assert_eq!(put_aside(&path).expect("moved"), dir.path().join("clock.odd"));
            assert!(!path.exists());
        }
        assert_eq!(fs::read(dir.path().join("clock.odd")).expect("file"), [2]);
    }
}
