//! Reading a chain: pages of records and holes, from the open segment, an older one or a copy in memory.

use std::ops::ControlFlow;

use iottly_protocol::GapReason;

use super::{Chain, Place};
use crate::outbox::frame;
use crate::outbox::page::PageBuilder;
use crate::outbox::segment::Segment;
use crate::outbox::sled_files::Fault;
use crate::outbox::{Page, QueueError};

impl Chain {
    /// Reads a page from number `seq` on.
    pub(in crate::outbox) fn peek(
        &mut self,
        place: &Place,
        seq: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Page, QueueError> {
        let start = seq.saturating_add(self.head.base).max(self.head.acked + 1);
        let mut page = PageBuilder::new(self.head.base, max_records, max_bytes);
        let mut position = start;
        while position < self.head.next && !page.is_full(0) {
            if let Some(span) = self.head.gaps.at(position) {
                let to = span.to.min(self.head.next - 1);
                page.hole(position, to, span.reason);
                position = to + 1;
                continue;
            }
            let end = self.head.gaps.next_after(position).unwrap_or(self.head.next) - 1;
            match self.read_run(place, position, end, &mut page)? {
                ControlFlow::Continue(next) => position = next,
                ControlFlow::Break(()) => break,
            }
        }
        Ok(page.finish(self.head.stream, start))
    }

    /// Reads the part of `from..=to` that one segment holds. Continues with the next position, or breaks if
    /// the page is full.
    fn read_run(
        &mut self,
        place: &Place,
        from: u64,
        to: u64,
        page: &mut PageBuilder,
    ) -> Result<ControlFlow<(), u64>, QueueError> {
        let Some(index) = self
            .segments
            .partition_point(|entry| entry.first <= from)
            .checked_sub(1)
        else {
            let to = self.segments.front().map_or(to, |entry| to.min(entry.first - 1));
            page.hole(from, to, GapReason::Corruption);
            self.lose(from, to, GapReason::Corruption);
            return Ok(ControlFlow::Continue(to + 1));
        };
        let to = to.min(self.end(index));
        let mut run = Run {
            expected: from,
            full: false,
            lost: Vec::new(),
        };
        let expired_before = place
            .policy
            .ttl_ms
            .map_or(0, |ttl| place.now_ms.saturating_sub(ttl));
        let read = match self.readable(place, index) {
            Ok(segment) => segment.scan(from, to, |position, value| {
                run.take(position, value, expired_before, page)
            }),
            Err(fault) => Err(fault),
        };
        for (from, to, reason) in run.lost {
            self.lose(from, to, reason);
        }
        match read {
            Ok(()) if run.full => Ok(ControlFlow::Break(())),
            Ok(()) => {
                if run.expected <= to {
                    page.hole(run.expected, to, GapReason::Corruption);
                    self.lose(run.expected, to, GapReason::Corruption);
                }
                Ok(ControlFlow::Continue(to + 1))
            }
            Err(Fault::Damaged(reason)) => {
                self.abandon(place, index, &reason)?;
                Ok(ControlFlow::Continue(run.expected))
            }
            Err(fault) => {
                let first = self.segments[index].first;
                self.close(first);
                Err(place.fault(&self.path(place, first), fault))
            }
        }
    }

    fn readable(&mut self, place: &Place, index: usize) -> Result<&Segment, Fault> {
        let first = self.segments[index].first;
        let newest = index + 1 == self.segments.len();
        if newest
            && self
                .writer
                .as_ref()
                .is_some_and(|segment| segment.first() == first)
        {
            return Ok(self.writer.as_ref().expect("just seen"));
        }
        if self
            .reader
            .as_ref()
            .is_none_or(|segment| segment.first() != first)
        {
            // Close the old segment first: only one at a time, to save memory.
            self.reader = None;
            let opened = if newest {
                self.open_settled(place, first)
            } else {
                self.open_older(place, first)
            };
            let segment = match opened {
                Ok(segment) if newest => return Ok(self.writer.insert(segment)),
                Ok(segment) => segment,
                // A full, read-only or failing disk: opening a database writes.
                Err(Fault::System(error)) => self
                    .open_copy(place, first, self.head.next)
                    .map_err(|_| Fault::System(error))?,
                Err(damaged) => return Err(damaged),
            };
            self.reader = Some(segment);
        }
        Ok(self.reader.as_ref().expect("just opened"))
    }

    fn open_older(&self, place: &Place, first: u64) -> Result<Segment, Fault> {
        let segment = Segment::open(&self.path(place, first), first, &place.disk)?;
        self.of_this_queue(place, segment)
    }

    /// Opens a copy in memory for reading, without the records from position `next` on.
    pub(in crate::outbox) fn open_copy(
        &self,
        place: &Place,
        first: u64,
        next: u64,
    ) -> Result<Segment, Fault> {
        let queue: String = place.queue.iter().map(|byte| format!("{byte:02x}")).collect();
        let name = format!("iottly-queue-{queue}-{:?}", self.class);
        let mut segment = Segment::open_copy(&self.path(place, first), first, &name)?;
        segment.settle(next)?;
        self.of_this_queue(place, segment)
    }

    fn of_this_queue(&self, place: &Place, segment: Segment) -> Result<Segment, Fault> {
        match segment.meta(self.class)? {
            Some(meta) if meta.queue != place.queue => {
                Err(Fault::Damaged("the segment belongs to another queue".to_owned()))
            }
            _ => Ok(segment),
        }
    }
}

/// State of reading a run of positions.
struct Run {
    expected: u64,
    full: bool,
    lost: Vec<(u64, u64, GapReason)>,
}

impl Run {
    fn take(
        &mut self,
        position: u64,
        value: &[u8],
        expired_before: u64,
        page: &mut PageBuilder,
    ) -> ControlFlow<()> {
        if page.is_full(value.len()) {
            self.full = true;
            return ControlFlow::Break(());
        }
        if position > self.expected {
            self.lose(self.expected, position - 1, GapReason::Corruption, page);
        }
        match frame::unseal(&frame::key(position), value) {
            None => self.lose(position, position, GapReason::Corruption, page),
            Some((stamp, _)) if stamp < expired_before => self.lose(position, position, GapReason::Ttl, page),
            Some((_, record)) => page.record(position, record),
        }
        self.expected = position + 1;
        ControlFlow::Continue(())
    }

    fn lose(&mut self, from: u64, to: u64, reason: GapReason, page: &mut PageBuilder) {
        page.hole(from, to, reason);
        match self.lost.last_mut() {
            Some((_, end, why)) if *why == reason && *end + 1 == from => *end = to,
            _ => self.lost.push((from, to, reason)),
        }
    }
}
