//! The segments of one stream: appending, acknowledging, dropping. Positions, not stream numbers.

mod read;

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use iottly_protocol::{GapReason, StreamClass};

use super::disk::Disk;
use super::frame::Meta;
use super::head::StreamHead;
use super::policy::{Policy, SegmentSize};
use super::segment::Segment;
use super::sled_files::Fault;
use super::{QueueError, StreamCount, quarantine, removal};
use crate::throttle::cut;

/// Size at which a fully acknowledged newest segment is removed instead of being filled, in bytes.
const ROLL_BYTES: u64 = 1 << 20;

/// Context that the chains of a queue share.
pub(super) struct Place {
    /// The queue's folder.
    pub(super) root: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    /// Id of the queue.
    pub(super) queue: [u8; 16],
    pub(super) policy: Policy,
    pub(super) segment_size: SegmentSize,
    /// Age clock of the queue, in milliseconds.
    pub(super) now_ms: u64,
}

impl Place {
    pub(super) fn io(&self, path: &Path, reason: std::io::Error) -> QueueError {
        QueueError::Io {
            path: self.root.join(path).display().to_string(),
            reason,
        }
    }

    pub(super) fn fault(&self, path: &Path, fault: Fault) -> QueueError {
        match fault {
            Fault::System(reason) => self.io(path, reason),
            Fault::Damaged(reason) => QueueError::Damaged {
                path: path.display().to_string(),
                reason,
            },
        }
    }
}

/// Segment on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// First position; the last one precedes the next segment's first.
    pub(super) first: u64,
    /// Size on disk when last measured, in bytes.
    pub(super) disk_bytes: u64,
}

/// Segments of one stream: records are appended to the newest and removed from the oldest.
pub(super) struct Chain {
    pub(super) class: StreamClass,
    pub(super) head: StreamHead,
    pub(super) segments: VecDeque<Entry>,
    /// Newest segment, if open.
    pub(super) writer: Option<Segment>,
    /// Older segment or copy that is being read.
    pub(super) reader: Option<Segment>,
    /// Number of positions recorded as lost since the chain was made.
    lost: u64,
}

impl Chain {
    pub(super) const fn new(class: StreamClass, head: StreamHead, segments: VecDeque<Entry>) -> Self {
        Self {
            class,
            head,
            segments,
            writer: None,
            reader: None,
            lost: 0,
        }
    }

    /// Returns the records that wait and those that were lost.
    pub(super) fn count(&self) -> StreamCount {
        let held = self.head.next - 1 - self.head.acked;
        StreamCount {
            waiting: held.saturating_sub(self.head.gaps.total()),
            lost: self.lost,
        }
    }

    pub(super) fn path(&self, place: &Place, first: u64) -> PathBuf {
        place.root.join(segment_name(self.class, first))
    }

    pub(super) fn disk_bytes(&self) -> u64 {
        self.segments.iter().map(|entry| entry.disk_bytes).sum()
    }

    /// Returns the last position that segment number `index` may hold.
    fn end(&self, index: usize) -> u64 {
        self.segments
            .get(index + 1)
            .map_or(self.head.next, |entry| entry.first)
            - 1
    }

    /// Appends records; durable on return. After an error none of them is in the chain.
    pub(super) fn append<'r>(
        &mut self,
        place: &Place,
        records: impl Iterator<Item = &'r [u8]>,
        count: u64,
    ) -> Result<(), QueueError> {
        let stored = self.try_append(place, records);
        if stored.is_err() {
            // When reopened, the segment is truncated to its earlier end.
            self.writer = None;
        } else {
            self.head.next += count;
        }
        stored
    }

    fn try_append<'r>(
        &mut self,
        place: &Place,
        records: impl Iterator<Item = &'r [u8]>,
    ) -> Result<(), QueueError> {
        self.open_writer(place)?;
        let next = self.head.next;
        let segment = self.writer.as_mut().expect("just opened");
        let first = segment.first();
        let meta = Meta {
            queue: place.queue,
            class: self.class,
            first,
            stream: self.head.stream,
            base: self.head.base,
        };
        let stored = segment.append(next, place.now_ms, &meta, records);
        let bytes = segment.disk_bytes();
        if let Some(entry) = self.segments.back_mut() {
            entry.disk_bytes = bytes;
        }
        stored.map_err(|fault| place.fault(&self.path(place, first), fault))
    }

    /// Opens the newest segment, or starts a new one if it is full.
    fn open_writer(&mut self, place: &Place) -> Result<(), QueueError> {
        let full = |segment: &Segment| {
            segment.records() >= place.segment_size.records || segment.bytes() >= place.segment_size.bytes
        };
        if self.writer.is_none()
            && let Some(first) = self.segments.back().map(|entry| entry.first)
        {
            let path = self.path(place, first);
            match self.open_settled(place, first) {
                Ok(segment) => self.writer = Some(segment),
                Err(Fault::Damaged(reason)) => self.abandon(place, self.segments.len() - 1, &reason)?,
                // The segment could not be closed: a new one takes the next records, and this one is read
                // from a copy.
                Err(Fault::System(error)) if error.kind() == ErrorKind::ResourceBusy => {
                    if first >= self.head.next {
                        removal::begin(&place.root, &path, &*place.disk).map_err(|e| place.io(&path, e))?;
                        self.segments.pop_back();
                    }
                }
                Err(fault) => return Err(place.fault(&path, fault)),
            }
        }
        if self.writer.as_ref().is_none_or(full) {
            // Close the full segment before opening the next one.
            self.writer = None;
            let first = self.head.next;
            let path = self.path(place, first);
            let segment =
                Segment::open(&path, first, &place.disk).map_err(|fault| place.fault(&path, fault))?;
            self.segments.push_back(Entry {
                first,
                disk_bytes: segment.disk_bytes(),
            });
            self.writer = Some(segment);
        }
        // A copy of the segment that is now written would be outdated.
        if let Some(first) = self.writer.as_ref().map(Segment::first) {
            self.reader.take_if(|segment| segment.first() == first);
        }
        Ok(())
    }

    fn open_settled(&self, place: &Place, first: u64) -> Result<Segment, Fault> {
        let mut segment = Segment::open(&self.path(place, first), first, &place.disk)?;
        segment.settle(self.head.next)?;
        Ok(segment)
    }

    /// Quarantines an unreadable segment; its records are lost.
    fn abandon(&mut self, place: &Place, index: usize, reason: &str) -> Result<(), QueueError> {
        let first = self.segments[index].first;
        let end = self.end(index);
        let path = self.path(place, first);
        self.close(first);
        let moved_to =
            quarantine::move_in(&place.root, &path, &*place.disk).map_err(|e| place.io(&path, e))?;
        tracing::error!(
            queue.path = %path.display(), queue.moved_to = %moved_to.display(), error = cut(reason), position.first = first, position.last = end,
            "failed to read a part of the queue; quarantined it"
        );
        self.segments.remove(index);
        self.lose(first, end, GapReason::Corruption);
        Ok(())
    }

    /// Records the unacknowledged part of `from..=to` as lost.
    pub(super) fn lose(&mut self, from: u64, to: u64, reason: GapReason) {
        let from = from.max(self.head.acked + 1);
        if from <= to {
            let before = self.head.gaps.total();
            self.head.gaps.add(from, to, reason);
            self.lost = self
                .lost
                .saturating_add(self.head.gaps.total().saturating_sub(before));
        }
    }

    fn close(&mut self, first: u64) {
        self.writer.take_if(|segment| segment.first() == first);
        self.reader.take_if(|segment| segment.first() == first);
    }

    /// Acknowledges everything up to position `upto`. Returns `true` if segments can be removed.
    pub(super) fn ack(&mut self, upto: u64) -> bool {
        self.head.acked = self.head.acked.max(upto.min(self.head.next - 1));
        self.head.gaps.trim(self.head.acked);
        self.is_done(0)
    }

    fn is_done(&self, index: usize) -> bool {
        let Some(entry) = self.segments.get(index) else {
            return false;
        };
        let newest = index + 1 == self.segments.len();
        self.end(index) <= self.head.acked && (!newest || entry.disk_bytes >= ROLL_BYTES)
    }

    /// Removes the fully acknowledged segments. The head must be durable.
    pub(super) fn remove_done(&mut self, place: &Place) -> Result<(), QueueError> {
        while self.is_done(0) {
            self.remove_oldest(place)?;
        }
        Ok(())
    }

    /// Records the oldest segment as dropped; [`Chain::remove_oldest`] removes it once the head is durable.
    /// Returns `false` if there is none.
    pub(super) fn drop_oldest(&mut self) -> bool {
        let Some(first) = self.segments.front().map(|entry| entry.first) else {
            return false;
        };
        let end = self.end(0);
        if first <= end {
            self.lose(first, end, GapReason::Budget);
        }
        true
    }

    /// Removes the oldest segment from the disk.
    pub(super) fn remove_oldest(&mut self, place: &Place) -> Result<(), QueueError> {
        let Some(entry) = self.segments.front().copied() else {
            return Ok(());
        };
        self.close(entry.first);
        let path = self.path(place, entry.first);
        let gone = removal::begin(&place.root, &path, &*place.disk).map_err(|e| place.io(&path, e))?;
        self.segments.pop_front();
        place.disk.remove_folder(&gone).map_err(|e| place.io(&gone, e))
    }
}

/// Returns the folder name of a segment.
pub(super) fn segment_name(class: StreamClass, first: u64) -> String {
    let class = match class {
        StreamClass::History => "history",
        StreamClass::Control => "control",
    };
    format!("{class}-{first:020}")
}
