//! Position of one stream: which sequence numbers are accounted for, and what an upload changes. Pure.

use std::borrow::Cow;
use std::collections::VecDeque;

use iottly_protocol::{GapReason, Message, Record, Refuse, Report, StreamClass, StreamId};

use super::{Entry, UploadBody};

/// Most separate ranges above the contiguous part. What would open one more is not taken, and so not
/// acknowledged.
pub const MAX_RANGES: usize = 64;
/// How many of the records with the highest numbers keep a hash of their body.
pub const RECENT: usize = 128;

/// What the cloud knows of one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamState {
    /// What the stream carries; none until the device or its first record said so.
    pub class: Option<StreamClass>,
    /// Highest number up to which everything is accounted for.
    pub upto: u64,
    /// Ranges above `upto` that are accounted for: sorted, disjoint, not touching, at most [`MAX_RANGES`].
    pub sparse: Vec<(u64, u64)>,
    /// Number and body hash of the records with the highest numbers, ascending, at most [`RECENT`].
    pub recent: VecDeque<(u64, u32)>,
}

/// What follows from an upload, in the order of its numbers.
#[derive(Debug, Clone)]
pub enum Effect {
    /// A record is new.
    Accept(u64, Entry),
    /// Numbers `from..=to` will never have a record.
    Gap {
        /// First number.
        from: u64,
        /// Last number.
        to: u64,
        /// Why.
        reason: GapReason,
    },
    /// The device must be told that a record is refused for good.
    Refuse(Refuse),
    /// A number arrived again with another body: two histories use one stream.
    Reused(u64, Entry),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    New,
    Present,
    Full,
}

impl StreamState {
    /// Applies an upload of `stream`.
    pub fn apply(&mut self, stream: StreamId, body: UploadBody) -> Vec<Effect> {
        match body {
            UploadBody::Records { first, records } => self.records(stream, first, records),
            UploadBody::Gap { from, to, reason } => self.gap(from, to, reason),
            UploadBody::Announce { class, oldest, .. } => {
                self.class.get_or_insert(class);
                match oldest.checked_sub(1) {
                    Some(lost) if lost > self.upto => self.gap(self.upto + 1, lost, GapReason::Restore),
                    _ => Vec::new(),
                }
            }
        }
    }

    /// The highest number whose record is remembered, with the record's hash.
    #[must_use]
    pub fn newest(&self) -> Option<(u64, u32)> {
        self.recent.back().copied()
    }

    fn records(&mut self, stream: StreamId, first: u64, records: Vec<Result<Entry, String>>) -> Vec<Effect> {
        let mut effects = Vec::with_capacity(records.len());
        let last = first.saturating_add(records.len() as u64);
        for (seq, record) in (first..).zip(records) {
            match record.and_then(|entry| self.fits(entry)) {
                Ok(entry) => match self.mark(seq) {
                    Mark::New => {
                        if seq + RECENT as u64 >= last {
                            self.remember(seq, body_hash(&entry));
                        }
                        effects.push(Effect::Accept(seq, entry));
                    }
                    Mark::Present => effects.extend(self.compare(seq, entry)),
                    Mark::Full => {}
                },
                // Named again when it comes again: the device may not have heard the first answer.
                Err(reason) => match self.mark(seq) {
                    Mark::New => {
                        extend_gap(&mut effects, seq);
                        effects.push(Effect::Refuse(Refuse { stream, seq, reason }));
                    }
                    Mark::Present => effects.push(Effect::Refuse(Refuse { stream, seq, reason })),
                    Mark::Full => {}
                },
            }
        }
        effects
    }

    /// Checks that an entry belongs in this class of stream; the first entry decides when the device has not.
    fn fits(&mut self, entry: Entry) -> Result<Entry, String> {
        let belongs = match entry {
            Entry::Message { .. } => StreamClass::History,
            Entry::Result(_)
            | Entry::Firmware(_)
            | Entry::Config(_)
            | Entry::Update(_)
            | Entry::Facts(_)
            | Entry::Log(_) => StreamClass::Control,
        };
        match (*self.class.get_or_insert(belongs), belongs) {
            (StreamClass::History, StreamClass::Control) => {
                Err("record does not belong in a history stream".into())
            }
            (StreamClass::Control, StreamClass::History) => {
                Err("message does not belong in a control stream".into())
            }
            _ => Ok(entry),
        }
    }

    fn gap(&mut self, from: u64, to: u64, reason: GapReason) -> Vec<Effect> {
        let missing = self.missing(from, to);
        if missing.is_empty() || !self.cover(from, to) {
            return Vec::new();
        }
        missing
            .into_iter()
            .map(|(from, to)| Effect::Gap { from, to, reason })
            .collect()
    }

    /// The parts of `from..=to` that are not accounted for.
    fn missing(&self, from: u64, to: u64) -> Vec<(u64, u64)> {
        let mut missing = Vec::new();
        let mut next = from.max(self.upto + 1);
        for &(start, end) in &self.sparse {
            if start > to {
                break;
            }
            if next < start {
                missing.push((next, start - 1));
            }
            next = next.max(end + 1);
        }
        if next <= to {
            missing.push((next, to));
        }
        missing
    }

    /// Says whether a number is accounted for.
    #[must_use]
    pub fn holds(&self, seq: u64) -> bool {
        seq <= self.upto
            || self
                .sparse
                .iter()
                .any(|&(start, end)| (start..=end).contains(&seq))
    }

    fn mark(&mut self, seq: u64) -> Mark {
        if seq == self.upto + 1 {
            self.upto = seq;
            self.absorb();
            return Mark::New;
        }
        if self.holds(seq) {
            return Mark::Present;
        }
        if self.cover(seq, seq) {
            Mark::New
        } else {
            Mark::Full
        }
    }

    /// Accounts for `from..=to`; false, and nothing changed, when that needs too many ranges.
    fn cover(&mut self, from: u64, to: u64) -> bool {
        let (mut from, mut to) = (from.max(1), to);
        if from <= self.upto + 1 {
            self.upto = self.upto.max(to);
            self.absorb();
            return true;
        }
        let touches =
            |&(start, end): &(u64, u64)| start <= to.saturating_add(1) && end.saturating_add(1) >= from;
        if self.sparse.len() == MAX_RANGES && !self.sparse.iter().any(touches) {
            return false;
        }
        let (joined, mut kept): (Vec<_>, Vec<_>) = self.sparse.iter().partition(|range| touches(range));
        for (start, end) in joined {
            (from, to) = (from.min(start), to.max(end));
        }
        let position = kept.partition_point(|&(start, _)| start < from);
        kept.insert(position, (from, to));
        self.sparse = kept;
        true
    }

    /// Moves the ranges that `upto` has reached into it.
    fn absorb(&mut self) {
        let reached = self.sparse.iter().take_while(|&&(start, end)| {
            let touches = start <= self.upto + 1;
            if touches {
                self.upto = self.upto.max(end);
            }
            touches
        });
        let count = reached.count();
        self.sparse.drain(..count);
    }

    fn remember(&mut self, seq: u64, hash: u32) {
        let at = self.recent.partition_point(|(known, _)| *known < seq);
        self.recent.insert(at, (seq, hash));
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }

    /// Compares a record that came again with what its number stood for, as long as that is remembered.
    fn compare(&mut self, seq: u64, entry: Entry) -> Option<Effect> {
        let known = self.recent.iter_mut().find(|(known, _)| *known == seq)?;
        let hash = body_hash(&entry);
        if known.1 == hash {
            return None;
        }
        // The report is made once, also when the device repeats itself.
        known.1 = hash;
        Some(Effect::Reused(seq, entry))
    }
}

/// Lengthens the refusal gap that ends right before `seq`, or starts one.
fn extend_gap(effects: &mut Vec<Effect>, seq: u64) {
    let previous = effects.iter_mut().rev().find_map(|effect| match effect {
        Effect::Gap {
            to,
            reason: GapReason::Refused,
            ..
        } if *to + 1 == seq => Some(to),
        _ => None,
    });
    match previous {
        Some(to) => *to = seq,
        None => effects.push(Effect::Gap {
            from: seq,
            to: seq,
            reason: GapReason::Refused,
        }),
    }
}

/// A short hash of what a record says, as devices make it.
fn body_hash(entry: &Entry) -> u32 {
    let record = match entry {
        Entry::Message {
            kind,
            at,
            channel,
            payload,
        } => {
            let (at_ms, channel) = (at.unsigned_abs(), channel.as_deref().map(Cow::Borrowed));
            Record::Message(Message {
                kind: *kind,
                at_ms,
                at_error_ms: None,
                channel,
                payload,
            })
        }
        Entry::Result(result) => Record::Result(result.clone()),
        Entry::Firmware(report) => Record::Report(Report::Firmware(report.clone())),
        Entry::Config(report) => Record::Report(Report::Config(*report)),
        Entry::Update(report) => Record::Report(Report::Update(report.clone())),
        Entry::Facts(facts) => Record::Report(Report::Facts(facts.clone())),
        Entry::Log(line) => Record::Log(line.clone()),
    };
    record.fingerprint()
}

#[cfg(test)]
mod tests;
