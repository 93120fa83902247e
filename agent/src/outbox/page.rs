//! Building a page. Pure.

use iottly_protocol::{GapReason, StreamId};

use super::{Item, Page};

/// Builder of a page; takes positions of the queue, yields numbers of the stream.
pub(super) struct PageBuilder {
    base: u64,
    bytes: usize,
    max_records: usize,
    max_bytes: usize,
    items: Vec<Item>,
}

impl PageBuilder {
    pub(super) const fn new(base: u64, max_records: usize, max_bytes: usize) -> Self {
        Self {
            base,
            bytes: 0,
            max_records,
            max_bytes,
            items: Vec::new(),
        }
    }

    /// Returns `true` if another record of `len` bytes does not fit; the first record always fits.
    pub(super) fn is_full(&self, len: usize) -> bool {
        self.items.len() >= self.max_records
            || (self.bytes > 0 && self.bytes.saturating_add(len) > self.max_bytes)
    }

    pub(super) fn record(&mut self, position: u64, record: &[u8]) {
        self.bytes += record.len();
        self.items.push(Item::Record {
            seq: position - self.base,
            record: record.to_vec(),
        });
    }

    pub(super) fn hole(&mut self, from: u64, to: u64, why: GapReason) {
        let from = from - self.base;
        let to = to - self.base;
        match self.items.last_mut() {
            Some(Item::Hole { to: end, reason, .. }) if *reason == why && *end + 1 == from => *end = to,
            _ => self.items.push(Item::Hole {
                from,
                to,
                reason: why,
            }),
        }
    }

    pub(super) fn finish(self, stream: StreamId, from: u64) -> Page {
        Page {
            stream,
            from: from - self.base,
            items: self.items,
        }
    }
}
