//! The files of a sled database: opening them whatever state they are in, and making them durable.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use iottly_protocol::StreamClass;

use super::QueueError;

/// Page cache of the database, bytes; sled's default is 1 GiB.
const CACHE_BYTES: u64 = 256 << 10;
/// sled keeps a few buffers of this size in memory; its default is 512 KiB. A database keeps the size that it was created with.
const SEGMENT_BYTES: usize = 128 << 10;
/// How often and with which pauses a locked database is tried again.
const LOCK_ATTEMPTS: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// Most unreadable queues kept aside.
const MAX_QUARANTINED: usize = 2;

/// An open database.
///
/// sled's `flush` writes but never syncs, so [`Files::sync`] syncs the database file and any blob files itself.
pub(super) struct Files {
    db: sled::Db,
    /// The database file, opened once more to sync it.
    log: File,
    /// Blob files that are synced already.
    synced_blobs: HashSet<OsString>,
}

/// What opening a queue had to give up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenNote {
    /// The queue was unreadable: it was moved aside and an empty one started.
    Quarantined {
        /// Where the old one is.
        moved_to: PathBuf,
        /// Why it could not be read.
        reason: String,
    },
    /// A stream's identity was damaged; its records are in a new stream.
    NewStream(StreamClass),
}

impl Files {
    pub(super) fn open(path: &Path) -> Result<Self, QueueError> {
        open_files(path).map_err(|unopened| open_error(path, unopened.reason()))
    }

    pub(super) const fn db(&self) -> &sled::Db {
        &self.db
    }

    /// Makes everything written so far durable; `path` is the database's folder.
    pub(super) fn sync(&mut self, path: &Path) -> Result<(), QueueError> {
        let name = || path.display().to_string();
        self.db.flush().map_err(|reason| QueueError::Storage { path: name(), reason })?;
        self.sync_blobs(&path.join("blobs")).map_err(|reason| QueueError::Io { path: name(), reason })?;
        self.log.sync_data().map_err(|reason| QueueError::Io { path: name(), reason })
    }

    /// sled puts large items into files of their own and never syncs them.
    fn sync_blobs(&mut self, folder: &Path) -> io::Result<()> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e),
        };
        let mut present = HashSet::new();
        let mut added = false;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            if !self.synced_blobs.contains(&name) {
                match File::open(entry.path()) {
                    Ok(file) => file.sync_data()?,
                    // Removed by sled between the listing and here.
                    Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                    Err(e) => return Err(e),
                }
                added = true;
            }
            present.insert(name);
        }
        self.synced_blobs = present;
        if added {
            File::open(folder)?.sync_data()?;
        }
        Ok(())
    }
}

/// Opens the database, or moves an unreadable one aside and opens an empty one.
pub(super) fn open_or_quarantine(path: &Path) -> Result<(Files, Option<OpenNote>), QueueError> {
    let reason = match open_files(path) {
        Ok(files) => return Ok((files, None)),
        Err(Unopened::System(reason)) => return Err(open_error(path, reason)),
        Err(Unopened::Damaged(reason)) => reason,
    };
    tracing::warn!(queue.path = %path.display(), reason, "the queue does not open, trying without its snapshot");
    // A stale or damaged snapshot is the usual reason, and sled rebuilds it from the log.
    remove_snapshots(path);
    let reason = match open_files(path) {
        Ok(files) => return Ok((files, None)),
        Err(Unopened::System(reason)) => return Err(open_error(path, reason)),
        Err(Unopened::Damaged(reason)) => reason,
    };
    let moved_to = quarantine(path).map_err(|e| open_error(path, format!("{reason}; moving it aside: {e}")))?;
    let files = open_files(path).map_err(|unopened| open_error(path, unopened.reason()))?;
    Ok((files, Some(OpenNote::Quarantined { moved_to, reason })))
}

fn open_error(path: &Path, reason: String) -> QueueError {
    QueueError::Open { path: path.display().to_string(), reason }
}

/// Why a database did not open.
enum Unopened {
    /// What is in its files.
    Damaged(String),
    /// The system: no space, no permission, another process. The files may be in order.
    System(String),
}

impl Unopened {
    fn reason(self) -> String {
        match self {
            Self::Damaged(reason) | Self::System(reason) => reason,
        }
    }
}

impl From<io::Error> for Unopened {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => Self::Damaged(error.to_string()),
            _ => Self::System(error.to_string()),
        }
    }
}

pub(super) fn config(path: &Path) -> sled::Config {
    sled::Config::default().path(path).cache_capacity(CACHE_BYTES).segment_size(SEGMENT_BYTES).flush_every_ms(None)
}

/// Opens the database; sled panics on some damage, which is damage like any other.
fn open_files(path: &Path) -> Result<Files, Unopened> {
    let config = config(path);
    let mut attempts = 0;
    let db = loop {
        let opened = catch_unwind(AssertUnwindSafe(|| config.open()));
        match opened.map_err(|_| Unopened::Damaged("the storage engine panicked".to_owned()))? {
            Ok(db) => break db,
            // A database that was closed just now keeps its lock until sled's own threads have let go of it.
            Err(sled::Error::Io(error)) if error.to_string().contains("could not acquire lock") && attempts < LOCK_ATTEMPTS => {
                attempts += 1;
                thread::sleep(LOCK_PAUSE);
            }
            Err(sled::Error::Io(error)) => return Err(error.into()),
            Err(error) => return Err(Unopened::Damaged(error.to_string())),
        }
    };
    let log = File::open(path.join("db"))?;
    log.sync_all()?;
    for folder in [Some(path), path.parent()].into_iter().flatten() {
        File::open(folder)?.sync_all()?;
    }
    Ok(Files { db, log, synced_blobs: HashSet::new() })
}

fn remove_snapshots(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            // A failure shows as the second attempt to open failing.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Moves the queue's folder aside as `<name>.bad-<n>`; beyond the bound the newest place is reused.
fn quarantine(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let places: Vec<_> = (1..=MAX_QUARANTINED).map(|n| path.with_file_name(format!("{name}.bad-{n}"))).collect();
    let place = places.iter().find(|place| !place.exists()).or(places.last()).expect("there is at least one place").clone();
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    fs::rename(path, &place)?;
    Ok(place)
}
