//! The queue's storage: two chains of sled segments, the head and the dead letters. Used by one thread.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use iottly_protocol::StreamClass::{Control, History};
use iottly_protocol::{StreamClass, StreamId, StreamInfo};

use super::chain::{Chain, Entry, Place, segment_name};
use super::dead_letter::{self, Letters};
use super::disk::{Disk, SystemDisk, disk_bytes};
use super::frame::OVERHEAD_BYTES;
use super::head::{Head, HeadFile, StreamHead};
use super::policy::{Policy, SegmentSize, WhenFull};
use super::{
    CLASSES, DeadLetter, OpenNote, Page, Pending, Queue, QueueError, StreamCount, index, quarantine, recover,
    removal,
};
use crate::time::strip_header;

/// Space that a commit may need beside twice the size of its records, in bytes: a new segment.
const COMMIT_BYTES: u64 = 256 << 10;

/// Queue in a sequence of small sled databases.
///
/// The folder holds the segments of both streams, the `head`, the dead letters, and unreadable parts in
/// `quarantine`. A segment is removed as a whole: when everything in it is acknowledged, or when the budget
/// needs room.
pub struct SledQueue {
    place: Place,
    head: HeadFile,
    chains: [Chain; 2],
    /// Age clock when the queue was opened, in milliseconds.
    opened_at_ms: u64,
    letters: Letters,
    /// Size of dead letters, quarantine and head, in bytes.
    other_bytes: u64,
}

impl SledQueue {
    /// Opens or creates the queue in folder `path` with default bounds. Returns the losses found.
    ///
    /// # Errors
    /// See [`SledQueue::open_with`].
    pub fn open(path: &Path) -> Result<(Self, Vec<OpenNote>), QueueError> {
        Self::open_with(path, Policy::default())
    }

    /// Opens or creates the queue in folder `path`. Returns the losses found.
    ///
    /// Unreadable parts are quarantined and become gaps; they never prevent a start.
    ///
    /// # Errors
    /// If the folder cannot be read or written.
    pub fn open_with(path: &Path, policy: Policy) -> Result<(Self, Vec<OpenNote>), QueueError> {
        Self::open_on(path, policy, SegmentSize::of(&policy), Arc::new(SystemDisk))
    }

    pub(super) fn open_on(
        path: &Path,
        policy: Policy,
        segment_size: SegmentSize,
        disk: Arc<dyn Disk>,
    ) -> Result<(Self, Vec<OpenNote>), QueueError> {
        let fail = |path: &Path, reason| QueueError::Io {
            path: path.display().to_string(),
            reason,
        };
        std::fs::create_dir_all(path).map_err(|e| fail(path, e))?;
        if let Some(parent) = path.parent() {
            disk.sync_folder(parent).map_err(|e| fail(parent, e))?;
        }
        removal::sweep(path, &*disk);
        let mut found: [VecDeque<Entry>; 2] = Default::default();
        for class in CLASSES {
            found[index(class)] = recover::segments(path, class).map_err(|e| fail(path, e))?;
        }
        let (head, stored) = HeadFile::open(path, &disk).map_err(|e| fail(&path.join("head"), e))?;
        // The queue's id is random and never leaves the device.
        let queue = *StreamId::random().as_bytes();
        let mut place = Place {
            root: path.to_owned(),
            disk,
            queue,
            policy,
            segment_size,
            now_ms: 0,
        };
        let head_lost = stored.is_none() && found.iter().any(|segments| !segments.is_empty());
        let mut notes = Vec::new();
        if head_lost {
            notes.push(OpenNote::HeadLost);
        }
        let stored = match stored {
            Some(stored) => stored,
            None => recover::head_from_segments(&place, &found)?,
        };
        place.queue = stored.queue;
        place.now_ms = stored.age_ms;
        let [history, control] = stored.streams;
        let [history_segments, control_segments] = found;
        let chains = [
            Chain::new(History, history, history_segments),
            Chain::new(Control, control, control_segments),
        ];
        let letters = Letters::open(path);
        let mut opened = Self {
            place,
            head,
            chains,
            opened_at_ms: stored.age_ms,
            letters,
            other_bytes: 0,
        };
        for chain in &mut opened.chains {
            recover::settle(chain, &opened.place, head_lost, &mut notes)?;
        }
        opened.measure_others();
        opened.write_head()?;
        opened.sync_head()?;
        for chain in &mut opened.chains {
            chain.remove_done(&opened.place)?;
        }
        Ok((opened, notes))
    }

    fn measure_others(&mut self) {
        let root = &self.place.root;
        self.other_bytes = ["dead-letters", quarantine::FOLDER, "head"]
            .iter()
            .map(|name| disk_bytes(&root.join(name)))
            .sum();
    }

    fn total_bytes(&self) -> u64 {
        // Files kept for inspection must not displace everything else in a small budget.
        let others = self.other_bytes.min(self.place.policy.budget() / 4);
        self.chains.iter().map(Chain::disk_bytes).sum::<u64>() + others
    }

    fn head_path(&self) -> PathBuf {
        self.place.root.join("head")
    }

    fn write_head(&mut self) -> Result<(), QueueError> {
        let streams = [self.chains[0].head.clone(), self.chains[1].head.clone()];
        let head = Head {
            queue: self.place.queue,
            age_ms: self.place.now_ms,
            streams,
        };
        self.head.write(&head).map_err(|reason| QueueError::Io {
            path: self.head_path().display().to_string(),
            reason,
        })
    }

    fn sync_head(&mut self) -> Result<(), QueueError> {
        self.head.sync().map_err(|reason| QueueError::Io {
            path: self.head_path().display().to_string(),
            reason,
        })
    }

    /// Makes room for `need` bytes by dropping the oldest messages, if the policy allows it.
    fn make_room(&mut self, need: u64) -> Result<(), QueueError> {
        loop {
            let used = self.total_bytes();
            let space = self.place.disk.space(&self.place.root).ok();
            if used + need <= self.place.policy.limit(used, space) {
                return Ok(());
            }
            if self.place.policy.when_full == WhenFull::DropOldest && self.evict()? {
                continue;
            }
            return match space {
                Some(space) if space.free < need + Policy::reserve(space) => Err(self
                    .place
                    .io(Path::new(""), std::io::ErrorKind::StorageFull.into())),
                _ => Ok(()),
            };
        }
    }

    /// Drops the oldest segment of messages; the gap is durable before the segment is removed.
    fn evict(&mut self) -> Result<bool, QueueError> {
        if !self.chains[index(History)].drop_oldest() {
            return Ok(false);
        }
        self.write_head()?;
        self.sync_head()?;
        self.chains[index(History)].remove_oldest(&self.place)?;
        Ok(true)
    }

    #[cfg(test)]
    pub(super) fn evict_for_test(&mut self) {
        self.evict().expect("evict");
    }

    /// Keeps the newest segment open as if closing it hung.
    #[cfg(test)]
    pub(super) fn lock_for_test(&mut self, class: StreamClass) {
        let chain = &mut self.chains[index(class)];
        let newest = chain.segments.back().expect("a segment").first;
        let segment = chain.writer.take().expect("it is open");
        super::closing::hold_for_test(segment, &self.place.root.join(segment_name(class, newest)));
    }

    fn append(&mut self, batch: &[Pending]) -> Result<(), QueueError> {
        for class in CLASSES {
            let records = || {
                batch
                    .iter()
                    .filter(|pending| pending.class == class)
                    .map(|pending| pending.record.as_slice())
            };
            let count = records().count() as u64;
            if count > 0 {
                self.chains[index(class)].append(&self.place, records(), count)?;
            }
        }
        self.write_head()
    }
}

impl Queue for SledQueue {
    fn push_batch(&mut self, batch: &[Pending]) -> Result<(), QueueError> {
        let bytes: usize = batch
            .iter()
            .map(|pending| pending.record.len() + OVERHEAD_BYTES)
            .sum();
        self.make_room(2 * bytes as u64 + COMMIT_BYTES)?;
        let before = [0, 1].map(|at| self.chains[at].head.next);
        let pushed = self.append(batch);
        if pushed.is_err() {
            for (chain, next) in self.chains.iter_mut().zip(before) {
                // When reopened, the newest segment is truncated to this position.
                chain.writer = None;
                chain.head.next = next;
            }
        }
        pushed
    }

    fn peek(
        &mut self,
        class: StreamClass,
        from: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Page, QueueError> {
        let chain = &mut self.chains[index(class)];
        let known = chain.head.gaps.spans().len();
        let page = chain.peek(&self.place, from, max_records, max_bytes)?;
        if chain.head.gaps.spans().len() != known {
            self.measure_others();
            self.write_head()?;
        }
        Ok(page)
    }

    fn ack(&mut self, class: StreamClass, upto: u64) -> Result<(), QueueError> {
        let chain = &mut self.chains[index(class)];
        let done = chain.ack(upto.saturating_add(chain.head.base));
        self.write_head()?;
        if done {
            self.sync_head()?;
            self.chains[index(class)].remove_done(&self.place)?;
        }
        Ok(())
    }

    fn dead_letter(&mut self, class: StreamClass, seq: u64, reason: &str) -> Result<bool, QueueError> {
        let chain = &mut self.chains[index(class)];
        let stream = chain.head.stream;
        if self.letters.has(stream, class, seq) {
            return Ok(false);
        }
        let page = chain.peek(&self.place, seq, 1, usize::MAX)?;
        let record = match page.items.into_iter().next() {
            Some(super::Item::Record { seq: found, record }) if found == seq => {
                strip_header(&record).to_vec()
            }
            _ => Vec::new(),
        };
        let letter = DeadLetter {
            class,
            stream: Some(stream),
            seq,
            reason: reason.to_owned(),
            record,
        };
        let added = self.letters.add(&self.place.root, &letter, &*self.place.disk);
        self.measure_others();
        added.map_err(|e| self.place.io(Path::new("dead-letters"), e))?;
        Ok(true)
    }

    fn dead_letters(&self) -> Result<Vec<DeadLetter>, QueueError> {
        dead_letter::read(&self.place.root).map_err(|e| self.place.io(Path::new("dead-letters"), e))
    }

    fn remint(&mut self, class: StreamClass) -> Result<(), QueueError> {
        let chain = &mut self.chains[index(class)];
        let before = chain.head.clone();
        // Records keep their positions; only the start of the numbers changes.
        let minted_ms = self.place.now_ms.max(1);
        chain.head = StreamHead {
            stream: StreamId::random(),
            base: before.acked,
            minted_ms,
            ..before.clone()
        };
        let minted = self.write_head().and_then(|()| self.sync_head());
        if minted.is_err() {
            self.chains[index(class)].head = before;
        }
        minted
    }

    fn minted_ago_ms(&self, class: StreamClass) -> Option<u64> {
        let minted_ms = self.chains[index(class)].head.minted_ms;
        (minted_ms > 0).then(|| self.place.now_ms.saturating_sub(minted_ms))
    }

    fn stream(&self, class: StreamClass) -> StreamInfo {
        let head = &self.chains[index(class)].head;
        StreamInfo {
            stream: head.stream,
            class,
            oldest: head.acked + 1 - head.base,
            next: head.next - head.base,
        }
    }

    fn count(&self, class: StreamClass) -> StreamCount {
        self.chains[index(class)].count()
    }

    fn disk_bytes(&self, class: StreamClass) -> u64 {
        self.chains[index(class)].disk_bytes()
    }

    fn policy(&self) -> Policy {
        self.place.policy
    }

    fn tick(&mut self, since_open_ms: u64) {
        self.place.now_ms = self.opened_at_ms.saturating_add(since_open_ms);
    }

    fn recover(&mut self) -> Result<(), QueueError> {
        // A failed segment is closed already and is reopened when needed. One whose folder was removed cannot
        // be written to.
        for chain in &mut self.chains {
            let root = &self.place.root;
            let class = chain.class;
            chain
                .writer
                .take_if(|segment| !root.join(segment_name(class, segment.first())).exists());
        }
        std::fs::create_dir_all(&self.place.root).map_err(|e| self.place.io(Path::new(""), e))?;
        let (head, _) = HeadFile::open(&self.place.root, &self.place.disk)
            .map_err(|e| self.place.io(Path::new("head"), e))?;
        self.head = head;
        self.measure_others();
        self.write_head()
    }
}
