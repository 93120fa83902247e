//! One sled database: opening it whatever state it is in, keeping its panics inside, and making it durable.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::disk::{Disk, disk_bytes};

/// Page cache of a database, bytes; sled's default is 1 GiB.
const CACHE_BYTES: u64 = 256 << 10;
/// sled keeps a few buffers of this size in memory; its default is 512 KiB. A database keeps the size that it was created with.
const SEGMENT_BYTES: usize = 128 << 10;
/// How often and with which pauses a locked database is tried again.
const LOCK_ATTEMPTS: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Why a database did not open, or failed later.
#[derive(Debug)]
pub(super) enum Fault {
    /// What is in its files.
    Damaged(String),
    /// The system: no space, no permission, another process. The files may be in order.
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

/// Runs an operation of sled; sled panics on some damage and on some failures of the disk.
pub(super) fn guarded<T>(operation: impl FnOnce() -> sled::Result<T>) -> Result<T, Fault> {
    match catch_unwind(AssertUnwindSafe(operation)) {
        Ok(done) => Ok(done?),
        Err(_) => Err(Fault::Damaged("the storage engine panicked".to_owned())),
    }
}

/// An open database.
///
/// sled's `flush` writes but never syncs, so [`Files::sync`] syncs the database file and any blob files itself.
pub(super) struct Files {
    /// None only while it is closed.
    db: Option<sled::Db>,
    path: PathBuf,
    /// The database file, opened once more to sync it.
    log: File,
    disk: Arc<dyn Disk>,
    /// Blob files that are synced already.
    synced_blobs: HashSet<OsString>,
}

impl Files {
    /// Opens or creates the database in folder `path`; what it holds is on the disk then.
    pub(super) fn open(path: &Path, disk: &Arc<dyn Disk>) -> Result<Self, Fault> {
        match Self::try_open(path, disk) {
            Err(Fault::Damaged(reason)) => {
                tracing::warn!(queue.path = %path.display(), reason, "the queue does not open, trying without its snapshot");
                // A stale or damaged snapshot is the usual reason, and sled rebuilds it from the log.
                remove_snapshots(path);
                Self::try_open(path, disk)
            }
            opened => opened,
        }
    }

    fn try_open(path: &Path, disk: &Arc<dyn Disk>) -> Result<Self, Fault> {
        let db = open_db(path)?;
        let log = File::open(path.join("db"))?;
        let mut files = Self { db: Some(db), path: path.to_owned(), log, disk: Arc::clone(disk), synced_blobs: HashSet::new() };
        files.sync_blobs()?;
        let config = path.join("conf");
        files.disk.sync_file(&config, &File::open(&config)?)?;
        files.disk.sync_file(&path.join("db"), &files.log)?;
        for folder in [Some(path), path.parent()].into_iter().flatten() {
            files.disk.sync_folder(folder)?;
        }
        Ok(files)
    }

    pub(super) fn db(&self) -> &sled::Db {
        self.db.as_ref().expect("open until dropped")
    }

    /// Makes everything written so far durable.
    pub(super) fn sync(&mut self) -> Result<(), Fault> {
        guarded(|| self.db().flush())?;
        self.sync_blobs()?;
        Ok(self.disk.sync_file(&self.path.join("db"), &self.log)?)
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        disk_bytes(&self.path)
    }

    /// sled puts large items into files of their own and never syncs them.
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
        let db = self.db.take();
        // Closing writes, and sled panics when that fails.
        if catch_unwind(AssertUnwindSafe(move || drop(db))).is_err() {
            tracing::warn!(queue.path = %self.path.display(), "the storage engine panicked while it was closed");
        }
    }
}

pub(super) fn config(path: &Path) -> sled::Config {
    sled::Config::default().path(path).cache_capacity(CACHE_BYTES).segment_size(SEGMENT_BYTES).flush_every_ms(None)
}

pub(super) fn open_db(path: &Path) -> Result<sled::Db, Fault> {
    let config = config(path);
    let mut attempts = 0;
    loop {
        match guarded(|| config.open()) {
            // A database that was closed just now keeps its lock until sled's own threads have let go of it.
            Err(Fault::System(error)) if error.to_string().contains("could not acquire lock") && attempts < LOCK_ATTEMPTS => {
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
            // A failure shows as the second attempt to open failing.
            let _ = fs::remove_file(entry.path());
        }
    }
}
