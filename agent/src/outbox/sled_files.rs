//! A sled database: opening it in any state, containing its panics, and making it durable.

use std::cell::Cell;
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::closing;
use super::disk::{Disk, disk_bytes};
use crate::throttle::cut;

/// Page cache of a database, in bytes; sled's default is 1 GiB.
const CACHE_BYTES: u64 = 256 << 10;
/// Size of sled's log segments, in bytes; sled holds a few buffers of this size in memory. The default is 512
/// KiB. A database keeps the size it was created with.
const SEGMENT_BYTES: usize = 128 << 10;
/// Number of attempts to open a locked database, and the pause between them.
const LOCK_ATTEMPTS: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// Maximum size of a database's file, in bytes; far above what the agent writes.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// Maximum number of files of a database.
const MAX_FILES: usize = 10_000;

/// Failure of a database.
#[derive(Debug)]
pub(super) enum Fault {
    /// The files are damaged.
    Damaged(String),
    /// The system failed: no space, no permission, another process. The files may be intact.
    System(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => Self::Damaged(error.to_string()),
            _ => Self::System(error),
        }
    }
}

impl From<sled::Error> for Fault {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(error) => error.into(),
            error => Self::Damaged(error.to_string()),
        }
    }
}

/// Runs an operation of sled and catches its panics: sled panics on some damage and some disk failures.
pub(super) fn guarded<T>(operation: impl FnOnce() -> sled::Result<T>) -> Result<T, Fault> {
    match catch_unwind(AssertUnwindSafe(operation)) {
        Ok(done) => Ok(done?),
        Err(_) => Err(Fault::Damaged("the storage engine panicked".to_owned())),
    }
}

/// Open database.
///
/// sled's `flush` writes but never syncs, so [`Files::sync`] syncs the database file and any blob files
/// itself.
pub(super) struct Files {
    /// `None` only while it is being closed.
    db: Option<sled::Db>,
    path: PathBuf,
    /// Second handle of the database file, for syncs.
    log: File,
    disk: Arc<dyn Disk>,
    /// Blob files that are durable already.
    synced_blobs: HashSet<OsString>,
    /// An operation has failed, so closing may hang.
    failed: Cell<bool>,
}

impl Files {
    /// Opens or creates the database in folder `path`; its content is durable on return.
    pub(super) fn open(path: &Path, disk: &Arc<dyn Disk>) -> Result<Self, Fault> {
        check(path)?;
        match Self::try_open(path, disk) {
            Err(Fault::Damaged(reason)) => {
                let reason = cut(&reason);
                tracing::warn!(queue.path = %path.display(), error = reason, "failed to open a part of the queue; retrying without its snapshot");
                // The usual cause is a stale or damaged snapshot, which sled rebuilds from the log.
                remove_snapshots(path);
                Self::try_open(path, disk)
            }
            opened => opened,
        }
    }

    fn try_open(path: &Path, disk: &Arc<dyn Disk>) -> Result<Self, Fault> {
        let db = open_db(path)?;
        let log = match File::open(path.join("db")) {
            Ok(log) => log,
            Err(error) => {
                closing::close(db, path, true);
                return Err(error.into());
            }
        };
        let mut files = Self {
            db: Some(db),
            path: path.to_owned(),
            log,
            disk: Arc::clone(disk),
            synced_blobs: HashSet::new(),
            failed: Cell::new(false),
        };
        let synced = files.sync_all();
        files.note(synced)?;
        Ok(files)
    }

    fn sync_all(&mut self) -> Result<(), Fault> {
        self.sync_blobs()?;
        let config = self.path.join("conf");
        self.disk.sync_file(&config, &File::open(&config)?)?;
        self.disk.sync_file(&self.path.join("db"), &self.log)?;
        for folder in [Some(self.path.as_path()), self.path.parent()]
            .into_iter()
            .flatten()
        {
            self.disk.sync_folder(folder)?;
        }
        Ok(())
    }

    /// Runs an operation on the database.
    pub(super) fn run<T>(&self, operation: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, Fault> {
        let db = self.db.as_ref().expect("open until dropped");
        self.note(guarded(|| operation(db)))
    }

    fn note<T>(&self, done: Result<T, Fault>) -> Result<T, Fault> {
        self.failed.set(self.failed.get() || done.is_err());
        done
    }

    /// Makes everything written so far durable.
    pub(super) fn sync(&mut self) -> Result<(), Fault> {
        self.run(|db| db.flush())?;
        let synced = self
            .sync_blobs()
            .and_then(|()| self.disk.sync_file(&self.path.join("db"), &self.log));
        self.note(synced.map_err(Fault::from))
    }

    /// Returns the size on disk, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        disk_bytes(&self.path)
    }

    /// Syncs new blob files: sled stores large items in separate files and never syncs them.
    fn sync_blobs(&mut self) -> io::Result<()> {
        let folder = self.path.join("blobs");
        let entries = match fs::read_dir(&folder) {
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
                    Ok(file) => self.disk.sync_file(&entry.path(), &file)?,
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
            self.disk.sync_folder(&folder)?;
            self.disk.sync_folder(&self.path)?;
        }
        Ok(())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if let Some(db) = self.db.take() {
            closing::close(db, &self.path, self.failed.get());
        }
    }
}

/// Checks that the path is a folder with files of the expected kind and size, or does not exist. Opening
/// anything else might never return.
fn check(path: &Path) -> Result<(), Fault> {
    let unexpected = |what: String| Err(Fault::Damaged(what));
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
        Ok(meta) if !meta.is_dir() => return unexpected("not a folder".to_owned()),
        Ok(_) => {}
    }
    let mut count = 0;
    for folder in [path.to_owned(), path.join("blobs")] {
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let (entry, name) = entry.map(|entry| (entry.metadata(), entry.file_name()))?;
            let meta = match entry {
                // Removed by sled's own threads in between.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                meta => meta?,
            };
            count += 1;
            if meta.is_dir() && folder == path && name == "blobs" {
                continue;
            }
            if !meta.is_file() {
                return unexpected(format!("{} is not a regular file", cut(&name.to_string_lossy())));
            }
            if meta.len() > MAX_FILE_BYTES || count > MAX_FILES {
                return unexpected(format!(
                    "{} has {} bytes and is file number {count}",
                    cut(&name.to_string_lossy()),
                    meta.len()
                ));
            }
        }
    }
    Ok(())
}

pub(super) fn config(path: &Path) -> sled::Config {
    sled::Config::default()
        .path(path)
        .cache_capacity(CACHE_BYTES)
        .segment_size(SEGMENT_BYTES)
        .flush_every_ms(None)
}

pub(super) fn open_db(path: &Path) -> Result<sled::Db, Fault> {
    let config = config(path);
    let mut attempts = 0;
    if closing::is_closing(path) {
        return Err(Fault::System(io::ErrorKind::ResourceBusy.into()));
    }
    loop {
        match guarded(|| config.open()) {
            // A database that was just closed stays locked until sled's own threads have ended.
            Err(Fault::System(error))
                if error.to_string().contains("could not acquire lock") && attempts < LOCK_ATTEMPTS =>
            {
                attempts += 1;
                thread::sleep(LOCK_PAUSE);
            }
            opened => return opened,
        }
    }
}

fn remove_snapshots(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            // On failure the second attempt to open reports the error.
            let _ = fs::remove_file(entry.path());
        }
    }
}
