use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use iottly_protocol::{GapReason, StreamClass, StreamId, StreamInfo};

use super::dead_letter::MAX_DEAD_LETTERS;
use super::frame::{self, Meta, OVERHEAD_BYTES};
use super::{CLASSES, DeadLetter, Item, Page, Pending, Queue, QueueError, index};

/// Page cache of the database, bytes; sled's default is 1 GiB.
const CACHE_BYTES: u64 = 1 << 20;
/// Most keys in one write when acknowledged records are removed.
const ACK_CHUNK: u64 = 1000;
/// How often and with which pauses a locked database is tried again.
const LOCK_ATTEMPTS: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// Most unreadable queues kept aside.
const MAX_QUARANTINED: usize = 2;

/// The queue in one sled database.
///
/// sled's `flush` writes but never syncs, so each commit syncs the database file and any blob files itself.
pub struct SledQueue {
    path: PathBuf,
    files: Option<Files>,
    streams: [Stream; 2],
}

struct Files {
    db: sled::Db,
    /// The database file, opened once more to sync it.
    log: File,
    /// Blob files that are synced already.
    synced_blobs: HashSet<OsString>,
}

#[derive(Debug, Clone, Copy)]
struct Stream {
    meta: Meta,
    next: u64,
    bytes: u64,
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

impl SledQueue {
    /// Opens or creates the queue in folder `path`, and says what had to be given up.
    ///
    /// An unreadable queue is moved aside, never a reason not to start.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn open(path: &Path) -> Result<(Self, Vec<OpenNote>), QueueError> {
        let mut notes = Vec::new();
        let (files, quarantined) = open_or_quarantine(path)?;
        notes.extend(quarantined);
        let mut queue = Self { path: path.to_owned(), files: Some(files), streams: [Stream::new(); 2] };
        queue.load(&mut notes)?;
        Ok((queue, notes))
    }

    fn load(&mut self, notes: &mut Vec<OpenNote>) -> Result<(), QueueError> {
        for class in CLASSES {
            let stored = self.db()?.get(frame::meta_key(class)).map_err(|e| self.storage(e))?;
            let meta = stored.as_ref().and_then(|value| Meta::decode(class, value));
            let mut stream = Stream::new();
            if let Some(meta) = meta {
                stream.meta = meta;
            }
            let mut last = stream.meta.acked;
            for entry in self.db()?.range(frame::record_key(class, 0)..=frame::record_key(class, u64::MAX)) {
                let (key, value) = entry.map_err(|e| self.storage(e))?;
                last = last.max(frame::seq_of(&key).unwrap_or(0));
                stream.bytes += (key.len() + value.len()) as u64;
            }
            stream.next = last + 1;
            self.streams[index(class)] = stream;
            if meta.is_none() {
                if stored.is_some() || stream.bytes > 0 {
                    notes.push(OpenNote::NewStream(class));
                }
                self.remint(class)?;
            }
        }
        Ok(())
    }

    fn db(&self) -> Result<&sled::Db, QueueError> {
        self.files.as_ref().map(|files| &files.db).ok_or_else(|| self.closed())
    }

    /// Makes everything written so far durable.
    fn sync(&mut self) -> Result<(), QueueError> {
        let Some(files) = &mut self.files else { return Err(self.closed()) };
        let synced = files.sync(&self.path);
        synced.map_err(|e| match e {
            SyncError::Storage(source) => self.storage(source),
            SyncError::Io(source) => self.io(source),
        })
    }

    fn closed(&self) -> QueueError {
        QueueError::Open { path: self.path.display().to_string(), reason: "the last attempt failed".to_owned() }
    }

    fn storage(&self, source: sled::Error) -> QueueError {
        QueueError::Storage { path: self.path.display().to_string(), source }
    }

    fn io(&self, source: io::Error) -> QueueError {
        QueueError::Io { path: self.path.display().to_string(), source }
    }

    fn trim_dead_letters(&self, class: StreamClass) -> Result<(), QueueError> {
        let range = frame::dead_key(class, 0)..=frame::dead_key(class, u64::MAX);
        let keys: Vec<_> = self.db()?.range(range).keys().collect::<Result<_, _>>().map_err(|e| self.storage(e))?;
        let excess = keys.len().saturating_sub(MAX_DEAD_LETTERS / CLASSES.len());
        for key in &keys[..excess] {
            self.db()?.remove(key).map_err(|e| self.storage(e))?;
        }
        Ok(())
    }
}

impl Stream {
    fn new() -> Self {
        Self { meta: Meta { stream: StreamId::random(), acked: 0 }, next: 1, bytes: 0 }
    }
}

impl Queue for SledQueue {
    fn push_batch(&mut self, batch: &[Pending]) -> Result<(), QueueError> {
        let mut streams = self.streams;
        let mut write = sled::Batch::default();
        for pending in batch {
            let stream = &mut streams[index(pending.class)];
            let key = frame::record_key(pending.class, stream.next);
            write.insert(&key[..], frame::seal(&key, &pending.record));
            stream.next += 1;
            stream.bytes += (OVERHEAD_BYTES + pending.record.len()) as u64;
        }
        self.db()?.apply_batch(write).map_err(|e| self.storage(e))?;
        self.sync()?;
        self.streams = streams;
        Ok(())
    }

    fn peek(&mut self, class: StreamClass, from: u64, max_records: usize, max_bytes: usize) -> Result<Page, QueueError> {
        let stream = self.streams[index(class)];
        let from = from.max(stream.meta.acked + 1);
        let mut reader = Reader { expected: from, bytes: 0, items: Vec::new() };
        if from < stream.next {
            for entry in self.db()?.range(frame::record_key(class, from)..frame::record_key(class, stream.next)) {
                let (key, value) = entry.map_err(|e| self.storage(e))?;
                if reader.is_full(value.len(), max_records, max_bytes) {
                    return Ok(Page { stream: stream.meta.stream, from, items: reader.items });
                }
                reader.take(&key, &value);
            }
            reader.hole_before(stream.next);
        }
        Ok(Page { stream: stream.meta.stream, from, items: reader.items })
    }

    fn ack(&mut self, class: StreamClass, upto: u64) -> Result<(), QueueError> {
        let mut stream = self.streams[index(class)];
        let upto = upto.min(stream.next - 1);
        while stream.meta.acked < upto {
            let last = upto.min(stream.meta.acked + ACK_CHUNK);
            let mut write = sled::Batch::default();
            for entry in self.db()?.range(frame::record_key(class, stream.meta.acked + 1)..=frame::record_key(class, last)) {
                let (key, value) = entry.map_err(|e| self.storage(e))?;
                stream.bytes = stream.bytes.saturating_sub((key.len() + value.len()) as u64);
                write.remove(key);
            }
            stream.meta.acked = last;
            write.insert(&frame::meta_key(class)[..], stream.meta.encode(class));
            self.db()?.apply_batch(write).map_err(|e| self.storage(e))?;
            self.streams[index(class)] = stream;
        }
        Ok(())
    }

    fn dead_letter(&mut self, class: StreamClass, seq: u64, reason: &str) -> Result<(), QueueError> {
        let source = frame::record_key(class, seq);
        let value = self.db()?.get(source).map_err(|e| self.storage(e))?;
        let record = value.as_deref().and_then(|value| frame::unseal(&source, value)).unwrap_or_default();
        let key = frame::dead_key(class, seq);
        let sealed = frame::seal(&key, &DeadLetter::encode(reason, record));
        self.db()?.insert(key, sealed).map_err(|e| self.storage(e))?;
        self.trim_dead_letters(class)?;
        self.sync()
    }

    fn dead_letters(&self) -> Result<Vec<DeadLetter>, QueueError> {
        let mut letters = Vec::new();
        for class in CLASSES {
            for entry in self.db()?.range(frame::dead_key(class, 0)..=frame::dead_key(class, u64::MAX)) {
                let (key, value) = entry.map_err(|e| self.storage(e))?;
                let seq = frame::seq_of(&key).unwrap_or(0);
                letters.extend(frame::unseal(&key, &value).and_then(|body| DeadLetter::decode(class, seq, body)));
            }
        }
        Ok(letters)
    }

    fn remint(&mut self, class: StreamClass) -> Result<(), QueueError> {
        let old = self.streams[index(class)];
        let mut fresh = Stream::new();
        let mut write = sled::Batch::default();
        let mut records = Vec::new();
        for entry in self.db()?.range(frame::record_key(class, 0)..=frame::record_key(class, u64::MAX)) {
            let (key, value) = entry.map_err(|e| self.storage(e))?;
            // What the old stream had acknowledged or what is damaged has no place in the new one.
            if frame::seq_of(&key).is_some_and(|seq| seq > old.meta.acked) {
                records.extend(frame::unseal(&key, &value).map(<[u8]>::to_vec));
            }
            write.remove(key);
        }
        // Inserts follow all removals: a later entry for a key replaces an earlier one.
        for record in records {
            let key = frame::record_key(class, fresh.next);
            fresh.bytes += (OVERHEAD_BYTES + record.len()) as u64;
            fresh.next += 1;
            write.insert(&key[..], frame::seal(&key, &record));
        }
        write.insert(&frame::meta_key(class)[..], fresh.meta.encode(class));
        self.db()?.apply_batch(write).map_err(|e| self.storage(e))?;
        self.sync()?;
        self.streams[index(class)] = fresh;
        Ok(())
    }

    fn stream(&self, class: StreamClass) -> StreamInfo {
        let stream = self.streams[index(class)];
        StreamInfo { stream: stream.meta.stream, class, oldest: stream.meta.acked + 1, next: stream.next }
    }

    fn len_bytes(&self, class: StreamClass) -> u64 {
        self.streams[index(class)].bytes
    }

    fn recover(&mut self) -> Result<(), QueueError> {
        // The old database must be closed before its file lock can be taken again.
        self.files = None;
        self.files = Some(open_files(&self.path).map_err(|unopened| open_error(&self.path, unopened.reason()))?);
        self.load(&mut Vec::new())
    }
}

/// Collects items and turns what is missing between them into holes.
struct Reader {
    expected: u64,
    bytes: usize,
    items: Vec<Item>,
}

impl Reader {
    fn is_full(&self, next_len: usize, max_records: usize, max_bytes: usize) -> bool {
        self.items.len() >= max_records || (!self.items.is_empty() && self.bytes + next_len > max_bytes)
    }

    fn take(&mut self, key: &[u8], value: &[u8]) {
        let Some(seq) = frame::seq_of(key) else { return };
        self.hole_before(seq);
        match frame::unseal(key, value) {
            Some(record) => {
                self.bytes += value.len();
                self.items.push(Item::Record { seq, record: record.to_vec() });
            }
            None => self.hole(seq, seq),
        }
        self.expected = seq + 1;
    }

    fn hole_before(&mut self, seq: u64) {
        if seq > self.expected {
            self.hole(self.expected, seq - 1);
        }
    }

    fn hole(&mut self, from: u64, to: u64) {
        if let Some(Item::Hole { to: end, .. }) = self.items.last_mut() {
            *end = to;
        } else {
            self.items.push(Item::Hole { from, to, reason: GapReason::Corruption });
        }
    }
}

enum SyncError {
    Storage(sled::Error),
    Io(io::Error),
}

impl Files {
    fn sync(&mut self, path: &Path) -> Result<(), SyncError> {
        self.db.flush().map_err(SyncError::Storage)?;
        self.sync_blobs(&path.join("blobs")).map_err(SyncError::Io)?;
        self.log.sync_data().map_err(SyncError::Io)
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

fn open_or_quarantine(path: &Path) -> Result<(Files, Option<OpenNote>), QueueError> {
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

/// Opens the database; sled panics on some damage, which is damage like any other.
fn open_files(path: &Path) -> Result<Files, Unopened> {
    let config = sled::Config::default().path(path).cache_capacity(CACHE_BYTES).flush_every_ms(None);
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
