//! Position of one stream: the sequence numbers that are accounted for, and the effects of an upload. Pure.

use std::borrow::Cow;
use std::collections::VecDeque;

use iottly_protocol::{GapReason, Message, Record, Refuse, Report, StreamClass, StreamId};

use super::{Entry, UploadBody};

/// Maximum number of separate ranges above the contiguous part. A record that would open one more is neither
/// stored nor acknowledged.
pub const MAX_RANGES: usize = 64;
/// Number of records with the highest numbers whose body hash is remembered.
pub const RECENT: usize = 128;

/// State of one stream in the cloud.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamState {
    /// Class of the stream; none until the device announces it or its first record implies it.
    pub class: Option<StreamClass>,
    /// Highest number up to which everything is accounted for.
    pub upto: u64,
    /// Ranges above `upto` that are accounted for: sorted, disjoint, not touching, at most [`MAX_RANGES`].
    pub sparse: Vec<(u64, u64)>,
    /// Number and body hash of the records with the highest numbers, ascending, at most [`RECENT`].
    pub recent: VecDeque<(u64, u32)>,
}

/// Effect of an upload; effects are in the order of the numbers.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Store a new record.
    Accept(u64, Entry),
    /// Report that the numbers `from..=to` will never have a record.
    Gap {
        /// First lost number.
        from: u64,
        /// Last lost number.
        to: u64,
        /// Reason of the loss.
        reason: GapReason,
    },
    /// Notify the device that a record is permanently refused.
    Refuse(Refuse),
    /// Report that a number arrived again with another body: two histories use one stream.
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

    /// Returns the highest number whose record is remembered, with the record's hash.
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
                // A repeated record is refused again: the device may have missed the first answer.
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

    /// Checks that an entry belongs in this class of stream. If the device has not announced the class, the
    /// first entry decides.
    fn fits(&mut self, entry: Entry) -> Result<Entry, String> {
        let belongs = match entry {
            Entry::Message { .. } => StreamClass::History,
            Entry::Result(_)
            | Entry::Firmware(_)
            | Entry::Settings(_)
            | Entry::Update(_)
            | Entry::Facts(_)
            | Entry::Log(_)
            | Entry::Developer(_) => StreamClass::Control,
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

    /// Returns the parts of `from..=to` that are not accounted for.
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

    /// Returns true if a number is accounted for.
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

    /// Accounts for `from..=to`. Returns false, without a change, if that needs too many ranges.
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

    /// Merges the ranges that `upto` has reached.
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

    /// Compares a repeated record with the remembered hash of its number.
    fn compare(&mut self, seq: u64, entry: Entry) -> Option<Effect> {
        let known = self.recent.iter_mut().find(|(known, _)| *known == seq)?;
        let hash = body_hash(&entry);
        if known.1 == hash {
            return None;
        }
        // Remember the new hash, so that a repetition is reported only once.
        known.1 = hash;
        Some(Effect::Reused(seq, entry))
    }
}

/// Extends the refusal gap that ends right before `seq`, or starts one.
fn extend_gap(effects: &mut Vec<Effect>, seq: u64) {
    let previous = effects.iter_mut().rev().find_map(|effect| match effect {
        Effect::Gap {
            to,
            reason: GapReason::Refused,
            ..
        } if *to + 1 == seq => Some(to),
        Effect::Gap { .. } | Effect::Accept(..) | Effect::Refuse(_) | Effect::Reused(..) => None,
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

/// Returns a short hash of a record's contents, computed as on devices.
fn body_hash(entry: &Entry) -> u32 {
    let record = match entry {
        Entry::Message {
            kind,
            at,
            channel,
            payload,
            firmware,
        } => {
            let (at_ms, channel) = (at.unsigned_abs(), channel.as_deref().map(Cow::Borrowed));
            Record::Message(Message {
                kind: *kind,
                at_ms,
                at_error_ms: None,
                channel,
                payload,
                firmware: *firmware,
            })
        }
        Entry::Result(result) => Record::Result(result.clone()),
        Entry::Firmware(report) => Record::Report(Report::Firmware(report.clone())),
        Entry::Settings(report) => Record::Report(Report::Config(*report)),
        Entry::Update(report) => Record::Report(Report::Update(report.clone())),
        Entry::Facts(facts) => Record::Report(Report::Facts(facts.clone())),
        Entry::Log(line) => Record::Log(line.clone()),
        Entry::Developer(report) => Record::Report(Report::Developer(report.clone())),
    };
    record.fingerprint()
}

#[cfg(test)]
mod tests;
