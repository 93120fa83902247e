//! Check of the data folder at the start: an unexpected file under one of the agent's names, such as a pipe,
//! a folder or a file of 50 GB, is renamed before anything opens it, so that it blocks neither the start nor
//! a later write.

use std::fs;
use std::path::Path;

use iottly_update::put_aside;

/// Expected kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A regular file of at most this size, in bytes.
    File(u64),
    /// A folder.
    Folder,
}

/// Maximum size of the command journal, in bytes: 256 waiting commands, and the entries since the last
/// rewrite.
const MAX_JOURNAL_BYTES: u64 = 64 << 20;
/// Maximum size of the other files, in bytes; each reader has a lower limit of its own.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Names in the data folder, except the queue, which checks its own folder.
const NAMES: [(&str, Kind); 19] = [
    ("running", Kind::File(MAX_FILE_BYTES)),
    ("clock", Kind::File(MAX_FILE_BYTES)),
    ("clock.new", Kind::File(MAX_FILE_BYTES)),
    ("settings.json", Kind::File(MAX_FILE_BYTES)),
    ("settings.new", Kind::File(MAX_FILE_BYTES)),
    ("commands.journal", Kind::File(MAX_JOURNAL_BYTES)),
    ("commands.new", Kind::File(MAX_JOURNAL_BYTES)),
    ("developer", Kind::File(MAX_FILE_BYTES)),
    ("developer.new", Kind::File(MAX_FILE_BYTES)),
    ("firmware.state", Kind::File(MAX_FILE_BYTES)),
    ("firmware.new", Kind::File(MAX_FILE_BYTES)),
    ("ca.pem", Kind::File(MAX_FILE_BYTES)),
    ("root.json", Kind::File(MAX_FILE_BYTES)),
    ("enrolment.pending", Kind::File(MAX_FILE_BYTES)),
    ("enrolment.new", Kind::File(MAX_FILE_BYTES)),
    ("identity", Kind::Folder),
    ("trust", Kind::Folder),
    ("update", Kind::Folder),
    ("cache", Kind::Folder),
];

/// Renames files of an unexpected kind, and restricts files that other users may read. Returns a description
/// of each renamed file.
pub(crate) fn check(data: &Path) -> Vec<String> {
    let mut notes = Vec::new();
    for (name, kind) in NAMES {
        let path = data.join(name);
        // A link counts as its target.
        let Ok(meta) = fs::metadata(&path) else { continue };
        let expected = match kind {
            Kind::File(limit) => meta.is_file() && meta.len() <= limit,
            Kind::Folder => meta.is_dir(),
        };
        if !expected {
            notes.push(match put_aside(&path) {
                Ok(_) => format!("{name} was {}; it is kept as {name}.odd", describe(&meta)),
                Err(error) => format!("{name} is {}, and cannot be renamed: {error}", describe(&meta)),
            });
        } else if meta.is_file() {
            restrict(&path, &meta, 0o600);
        }
    }
    notes
}

/// Removes the permissions of other users, if this user owns the file.
pub(crate) fn restrict(path: &Path, meta: &fs::Metadata, mode: u32) {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    // A folder with the sticky bit is shared on purpose.
    let ours = meta.uid() == rustix::process::geteuid().as_raw() && meta.mode() & 0o1000 == 0;
    if meta.mode() & 0o077 == 0 || !ours {
        return;
    }
    if let Err(error) = fs::set_permissions(path, fs::Permissions::from_mode(mode)) {
        tracing::warn!(file.path = %path.display(), %error, "failed to restrict a file's mode; other users may still read it");
    }
}

fn describe(meta: &fs::Metadata) -> String {
    if meta.is_file() {
        format!("a file of {} bytes", meta.len())
    } else if meta.is_dir() {
        "a folder".to_owned()
    } else {
        "not a regular file".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn whatever_lies_under_a_name_is_put_aside_and_what_is_right_stays() {
        for (name, kind) in NAMES {
            for odd in ["pipe", "folder", "file", "long"] {
                let dir = tempfile::tempdir().expect("dir");
                let path = dir.path().join(name);
                match odd {
                    "pipe" => mknodat(CWD, &path, FileType::Fifo, Mode::from(0o600), 0).expect("pipe"),
                    "folder" => fs::create_dir_all(path.join("inside")).expect("folder"),
                    "file" => fs::write(&path, "x").expect("file"),
                    // Sparse: it takes no room.
                    _ => fs::File::create(&path)
                        .and_then(|file| file.set_len(50 << 30))
                        .expect("file"),
                }
                let right = matches!((kind, odd), (Kind::File(_), "file") | (Kind::Folder, "folder"));
                assert_eq!(check(dir.path()).len(), usize::from(!right), "{name} as {odd}");
                assert_eq!(path.exists(), right, "{name} as {odd}");
                assert!(check(dir.path()).is_empty(), "{name} as {odd}: reported once");
            }
        }
    }

    #[test]
    fn files_that_others_may_read_are_closed() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("settings.json");
        fs::write(&path, "{}").expect("file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("mode");
        assert!(check(dir.path()).is_empty());
        assert_eq!(
            fs::metadata(&path).expect("file").permissions().mode() & 0o777,
            0o600
        );
    }
}
