use std::path::{Path, PathBuf};

use iottly_protocol::{GapReason, StreamClass, StreamId, StreamInfo};

use super::dead_letter::MAX_DEAD_LETTERS;
use super::frame::{self, Meta, OVERHEAD_BYTES};
use super::sled_files::{Files, OpenNote, open_or_quarantine};
use super::{CLASSES, DeadLetter, Item, Page, Pending, Queue, QueueError, index};

/// Most keys in one write when acknowledged records are removed.
const ACK_CHUNK: u64 = 1000;

/// The queue in one sled database.
///
/// sled's `flush` writes but never syncs, so each commit syncs the database file and any blob files itself.
pub struct SledQueue {
    path: PathBuf,
    files: Option<Files>,
    streams: [Stream; 2],
}

#[derive(Debug, Clone, Copy)]
struct Stream {
    meta: Meta,
    next: u64,
    bytes: u64,
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
        self.files.as_ref().map(Files::db).ok_or_else(|| self.closed())
    }

    /// Makes everything written so far durable.
    fn sync(&mut self) -> Result<(), QueueError> {
        match &mut self.files {
            Some(files) => files.sync(&self.path),
            None => Err(self.closed()),
        }
    }

    fn closed(&self) -> QueueError {
        QueueError::Open { path: self.path.display().to_string(), reason: "the last attempt failed".to_owned() }
    }

    fn storage(&self, reason: sled::Error) -> QueueError {
        QueueError::Storage { path: self.path.display().to_string(), reason }
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
        self.files = Some(Files::open(&self.path)?);
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
