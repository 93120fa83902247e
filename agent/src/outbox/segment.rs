//! A segment: one sled database with consecutive records of a stream. Knows positions, not streams' numbers.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use iottly_protocol::StreamClass;

use super::disk::{Disk, SystemDisk};
use super::frame::{self, META_KEY, Meta, OVERHEAD_BYTES};
use super::memory_copy::MemoryCopy;
use super::sled_files::{Fault, Files};

/// Maximum number of keys in one write when records beyond the end are removed.
const CUT_CHUNK: usize = 1000;

/// Maximum number and size in bytes of records in one write; a group of several writes is synced once.
const BATCH_RECORDS: u64 = 100;
const BATCH_BYTES: u64 = 64 << 10;

/// Open segment: a database with the records from its first position on.
pub(super) struct Segment {
    files: Files,
    first: u64,
    /// Number of records, and their size in bytes.
    records: u64,
    bytes: u64,
    has_meta: bool,
    /// Folder of a copy; removed after its database is closed.
    _copy: Option<MemoryCopy>,
}

impl Segment {
    /// Opens or creates a segment in folder `path`.
    pub(super) fn open(path: &Path, first: u64, disk: &Arc<dyn Disk>) -> Result<Self, Fault> {
        Ok(Self {
            files: Files::open(path, disk)?,
            first,
            records: 0,
            bytes: 0,
            has_meta: false,
            _copy: None,
        })
    }

    /// Opens a copy of a segment under `name`, for reading only: for segments that cannot be opened where
    /// they are.
    pub(super) fn open_copy(path: &Path, first: u64, name: &str) -> Result<Self, Fault> {
        let copy = MemoryCopy::copy(path, name)?;
        let disk: Arc<dyn Disk> = Arc::new(SystemDisk);
        let segment = Self::open(copy.path(), first, &disk)?;
        Ok(Self {
            _copy: Some(copy),
            ..segment
        })
    }

    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    pub(super) const fn records(&self) -> u64 {
        self.records
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn disk_bytes(&self) -> u64 {
        self.files.bytes()
    }

    /// Returns the segment's description; `None` if it is missing or damaged.
    pub(super) fn meta(&self, class: StreamClass) -> Result<Option<Meta>, Fault> {
        let value = self.files.run(|db| db.get(META_KEY))?;
        Ok(value.and_then(|value| Meta::decode(class, &value)))
    }

    /// Removes everything from position `next` on and counts the rest. Returns the last position.
    pub(super) fn settle(&mut self, next: u64) -> Result<Option<u64>, Fault> {
        self.has_meta = self.files.run(|db| db.get(META_KEY))?.is_some();
        let mut last = None;
        let mut records = 0;
        let mut bytes = 0;
        let mut beyond = Vec::new();
        self.scan(self.first, u64::MAX, |position, value| {
            if position < next {
                (last, records, bytes) = (Some(position), records + 1, bytes + value.len() as u64);
            } else {
                beyond.push(position);
            }
            ControlFlow::Continue(())
        })?;
        (self.records, self.bytes) = (records, bytes);
        for chunk in beyond.chunks(CUT_CHUNK) {
            let mut write = sled::Batch::default();
            chunk
                .iter()
                .for_each(|position| write.remove(&frame::key(*position)));
            self.files.run(|db| db.apply_batch(write))?;
        }
        if !beyond.is_empty() {
            self.files.sync()?;
        }
        Ok(last)
    }

    /// Stores consecutive records from position `from` on; durable on return.
    pub(super) fn append<'r>(
        &mut self,
        from: u64,
        stamp_ms: u64,
        meta: &Meta,
        records: impl Iterator<Item = &'r [u8]>,
    ) -> Result<(), Fault> {
        let mut write = sled::Batch::default();
        if !self.has_meta {
            write.insert(META_KEY, meta.encode());
        }
        let mut count = 0;
        let mut bytes = 0;
        let mut pages = 0;
        for (position, record) in (from..).zip(records) {
            let key = frame::key(position);
            write.insert(&key, frame::seal(&key, stamp_ms, record));
            count += 1;
            bytes += (record.len() + OVERHEAD_BYTES) as u64;
            // sled holds a whole batch in memory, and one large batch takes more disk than several small
            // ones.
            if count % BATCH_RECORDS == 0 || bytes / BATCH_BYTES > pages {
                pages = bytes / BATCH_BYTES;
                let full = std::mem::take(&mut write);
                self.files.run(|db| db.apply_batch(full))?;
            }
        }
        self.files.run(|db| db.apply_batch(write))?;
        self.files.sync()?;
        self.has_meta = true;
        self.records += count;
        self.bytes += bytes;
        Ok(())
    }

    /// Visits the stored values of `from..=to` in order, including damaged ones.
    pub(super) fn scan(
        &self,
        from: u64,
        to: u64,
        mut visit: impl FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        self.files.run(|db| {
            for entry in db.range(frame::key(from)..=frame::key(to)) {
                let (key, value) = entry?;
                let Some(position) = frame::position(&key) else {
                    continue;
                };
                if visit(position, &value).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }
}
