//! One stream's way to the cloud: what was sent, what is acknowledged, what comes next.

use iottly_protocol::{Gap, Record, StreamInfo, Up, encode_batch, limits};

use super::effect::Effect;
use super::window::Window;
use crate::outbox::{Item, Page};

/// One stream's position.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) info: StreamInfo,
    /// Highest number published on this connection or acknowledged.
    pub(super) sent: u64,
    /// Highest number of this stream published since the agent started; 0 when none was.
    published: u64,
    window: Window,
    /// The number from which a read is under way.
    pub(super) reading: Option<u64>,
    /// A new stream id was asked for and is not there yet.
    pub(super) reminting: bool,
    /// What the cloud has is to be compared with what is here first.
    verify: Option<Verify>,
    /// A read failed; the next timer tries again.
    pub(super) retry_at_ms: Option<u64>,
}

/// The cloud has another record under a number of this stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Another;

/// A comparison that decides whether the stream is still the one that the cloud knows.
#[derive(Debug, Clone, Copy)]
struct Verify {
    seq: u64,
    hash: u32,
    /// The cloud's position, acknowledged once the comparison is done.
    upto: u64,
}

impl Track {
    pub(super) fn new(info: StreamInfo) -> Self {
        let sent = info.oldest - 1;
        Self {
            info,
            sent,
            published: 0,
            window: Window::new(),
            reading: None,
            reminting: false,
            verify: None,
            retry_at_ms: None,
        }
    }

    /// Goes over to a new stream. A read under way is still answered, for the old one.
    pub(super) fn restart(&mut self, info: StreamInfo) {
        *self = Self {
            reading: self.reading,
            ..Self::new(info)
        };
    }

    /// Says whether `seq` is a number given and not yet acknowledged.
    pub(super) fn holds(&self, seq: u64) -> bool {
        (self.info.oldest..self.info.next).contains(&seq)
    }

    pub(super) fn deadline_ms(&self) -> Option<u64> {
        [self.window.deadline_ms(), self.retry_at_ms]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn rewind(&mut self) {
        self.sent = self.info.oldest - 1;
        self.window.clear();
        // A new stream that did not come about is asked for again by the next welcome.
        self.reminting = false;
        // So is the comparison.
        self.verify = None;
    }

    /// Postpones everything until the record under `seq` was compared with what the cloud has there.
    pub(super) fn verify(&mut self, seq: u64, hash: u32, upto: u64) {
        self.verify = Some(Verify { seq, hash, upto });
    }

    /// Whether acknowledgements and batches wait.
    pub(super) fn is_held(&self) -> bool {
        self.reminting || self.verify.is_some()
    }

    /// Takes the page that was read for the comparison; none when it is not that page. Returns the position
    /// to acknowledge, or that the cloud has another record under this number.
    ///
    /// A record that is no longer here (dropped to keep the budget, or lost by the disk) cannot be compared.
    /// The cloud has that record if this agent published the number, because a stream is compared before
    /// anything of it is published. Otherwise the number may stand for a record that was given the same
    /// number before this device was put back to an older image, and only a new stream tells the cloud of the
    /// loss.
    pub(super) fn compare(&mut self, page: &Page) -> Option<Result<u64, Another>> {
        let Verify { seq, hash, upto } = self
            .verify
            .filter(|verify| page.stream == self.info.stream && page.from == verify.seq)?;
        self.verify = None;
        match page.items.first() {
            Some(Item::Record { seq: found, record }) if *found == seq => {
                Some(if fingerprint(record) == Some(hash) {
                    Ok(upto)
                } else {
                    Err(Another)
                })
            }
            _ => Some(if seq <= self.published {
                Ok(upto)
            } else {
                Err(Another)
            }),
        }
    }

    pub(super) fn expire(&mut self, now_ms: u64) {
        if self.retry_at_ms.is_some_and(|at| now_ms >= at) {
            self.retry_at_ms = None;
        }
        if self
            .window
            .deadline_ms()
            .is_some_and(|deadline| now_ms >= deadline)
        {
            self.window.expire();
            self.sent = self.info.oldest - 1;
        }
    }

    pub(super) fn acked(&mut self, upto: u64, now_ms: u64) {
        self.info.oldest = upto + 1;
        self.sent = self.sent.max(upto);
        self.window.acked(upto, now_ms);
    }

    /// Asks for the next page when there is something to send and room for it.
    pub(super) fn pump(&mut self, effects: &mut Vec<Effect>) {
        let (from, max_records) = match self.verify {
            Some(verify) => (verify.seq, 1),
            None => (self.sent + 1, limits::BATCH_RECORDS),
        };
        if self.reading.is_some()
            || self.reminting
            || self.retry_at_ms.is_some()
            || from >= self.info.next
            || !self.window.has_room()
        {
            return;
        }
        self.reading = Some(from);
        effects.push(Effect::Peek {
            class: self.info.class,
            from,
            max_records,
            max_bytes: limits::BATCH_BYTES,
        });
    }

    /// Publishes a page: a batch for each run of records, a gap for each hole.
    pub(super) fn publish(&mut self, items: &[Item], now_ms: u64, effects: &mut Vec<Effect>) {
        let stream = self.info.stream;
        let mut run: Vec<&[u8]> = Vec::new();
        for item in items {
            match item {
                Item::Record { record, .. } => run.push(record),
                Item::Hole { from, to, reason } => {
                    self.batch(&mut run, now_ms, effects);
                    let gap = Up::Gap(Gap {
                        stream,
                        from: *from,
                        to: *to,
                        reason: *reason,
                    })
                    .encode();
                    self.window.sent(*to, gap.len(), now_ms);
                    self.sent = *to;
                    self.published = self.published.max(*to);
                    effects.push(Effect::Publish(gap));
                }
            }
        }
        self.batch(&mut run, now_ms, effects);
    }

    fn batch(&mut self, run: &mut Vec<&[u8]>, now_ms: u64, effects: &mut Vec<Effect>) {
        if run.is_empty() {
            return;
        }
        let (first, count) = (self.sent + 1, run.len() as u64);
        let bytes = encode_batch(self.info.stream, first, run.drain(..));
        self.sent += count;
        self.published = self.published.max(self.sent);
        self.window.sent(self.sent, bytes.len(), now_ms);
        effects.push(Effect::Publish(bytes));
    }
}

/// The fingerprint of an encoded record; none when it is no record.
fn fingerprint(record: &[u8]) -> Option<u32> {
    serde_json::from_slice::<Record<'_>>(record)
        .ok()
        .map(|record| record.fingerprint())
}
