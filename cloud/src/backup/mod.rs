//! Backups of a whole cloud in one encrypted file: database, releases, keys and the authority. All calls block, and hold one
//! chunk in memory.
//!
//! The database is copied first, as it is at one moment. Releases that are made afterwards are in the backup as well, which
//! no device minds. Of each repository the timestamp is read first, because everything that it names was written before.

mod archive;
mod collect;
mod restore;
mod sealed_io;

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use iottly_core::vault::{Opener, PassphraseError, VaultError};
use iottly_protocol::Secret;
use iottly_store::StoreError;
use serde_json::json;

use crate::cloud::CloudConfig;
use crate::{clock, random};

pub use restore::restore_all;

/// Error of a backup or a restoration.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file cannot be read or written.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// Error of the system.
        reason: io::Error,
    },
    /// The backup is not believed.
    #[error(transparent)]
    Vault(VaultError),
    /// The passphrase is unusable.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// Something is in the way. A backup overwrites nothing.
    #[error("{0} is not empty; restore into an empty folder")]
    InUse(String),
    /// The data folder is unusable.
    #[error("{0}")]
    Data(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system has no randomness.
    #[error("failed to read random bytes from the system: {0}")]
    Random(#[from] getrandom::Error),
}

impl BackupError {
    /// Returns an error of the system at a path; one of the encryption keeps its own text.
    fn file(path: &Path, reason: io::Error) -> Self {
        match reason
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<VaultError>())
        {
            Some(error) => Self::Vault(*error),
            None => Self::File {
                path: path.display().to_string(),
                reason,
            },
        }
    }
}

/// Returns true if a file claims to be an encrypted backup of a whole cloud.
#[must_use]
pub fn is_whole(file: &Path) -> bool {
    let mut start = Vec::new();
    let read =
        File::open(file).and_then(|file| io::Read::read_to_end(&mut io::Read::take(file, 8), &mut start));
    read.is_ok() && Opener::recognises(&start)
}

/// Removes a file on drop, unless it is kept.
struct Unfinished<'p> {
    path: &'p Path,
    keep: bool,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.keep {
            let _ = std::fs::remove_file(self.path);
        }
    }
}

/// Writes the snapshot of the database `copy` and the files of the cloud to a new file. The cloud may be running.
///
/// # Errors
/// If the file exists, something cannot be read or written, or the passphrase is short; the file is then removed.
pub fn back_up_all(
    config: &CloudConfig,
    copy: &Path,
    file: &Path,
    passphrase: &Secret,
) -> Result<(), BackupError> {
    let failed = |reason| BackupError::file(file, reason);
    let out = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .map_err(failed)?;
    let mut unfinished = Unfinished {
        path: file,
        keep: false,
    };
    let mut to = sealed_io::SealedWriter::new(out, passphrase, random::bytes()?)?.map_err(failed)?;
    let about = json!({
        "format": 1,
        "iottly": env!("CARGO_PKG_VERSION"),
        "created": clock::now(),
    })
    .to_string();
    archive::put(&mut to, archive::ABOUT, about.len() as u64, &mut about.as_bytes()).map_err(failed)?;
    add(&mut to, archive::DATABASE, copy, file)?;
    for (name, path) in collect::files(&config.data, &config.key_places())? {
        add(&mut to, &name, &path, file)?;
    }
    archive::end(&mut to).map_err(failed)?;
    let out = to.finish().map_err(failed)?;
    out.sync_all().map_err(failed)?;
    sync_folder(file).map_err(failed)?;
    unfinished.keep = true;
    Ok(())
}

/// Adds a file. One that has gone since it was listed is left out: the cloud prunes old releases.
fn add(to: &mut impl Write, name: &str, path: &Path, out: &Path) -> Result<(), BackupError> {
    let mut from = match File::open(path) {
        Ok(from) => from,
        Err(error) if error.kind() == ErrorKind::NotFound && name != archive::DATABASE => return Ok(()),
        Err(reason) => return Err(BackupError::file(path, reason)),
    };
    let length = from
        .metadata()
        .map_err(|reason| BackupError::file(path, reason))?
        .len();
    archive::put(to, name, length, &mut from).map_err(|reason| BackupError::file(out, reason))
}

/// Flushes the entry of a file in its folder to the disk.
fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .map_or_else(|| PathBuf::from("."), Path::to_owned);
    File::open(folder)?.sync_all()
}
