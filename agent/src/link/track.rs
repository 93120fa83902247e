//! State of sending one stream: sent and acknowledged positions, and the next read. Pure.

use iottly_protocol::{Gap, Record, StreamInfo, Up, encode_batch, limits};

use super::effect::Effect;
use super::window::Window;
use crate::outbox::{Item, Page};

/// State of sending one stream.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) info: StreamInfo,
    /// Highest number that was published on this connection or acknowledged.
    pub(super) sent: u64,
    /// Highest number of this stream published since the agent started; 0 for none.
    published: u64,
    window: Window,
    /// First number of the read under way.
    pub(super) reading: Option<u64>,
    /// A new stream was requested and does not exist yet.
    pub(super) reminting: bool,
    /// Comparison with the cloud's record that must be done first.
    verify: Option<Verify>,
    /// Time of the next read after a failed one.
    pub(super) retry_at_ms: Option<u64>,
}

/// Finding that the cloud has another record under a number of this stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Another;

/// Comparison that shows if the stream is still the one that the cloud knows.
#[derive(Debug, Clone, Copy)]
struct Verify {
    seq: u64,
    hash: u32,
    /// Position of the cloud, acknowledged once the records are equal.
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

    /// Switches to a new stream. A read of the old one that is under way is still answered.
    pub(super) fn restart(&mut self, info: StreamInfo) {
        *self = Self {
            reading: self.reading,
            ..Self::new(info)
        };
    }

    /// Returns `true` if `seq` is assigned and not acknowledged.
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
        // The next welcome requests the new stream or the comparison again.
        self.reminting = false;
        self.verify = None;
    }

    /// Holds the stream until the record under `seq` has been compared with the cloud's.
    pub(super) fn verify(&mut self, seq: u64, hash: u32, upto: u64) {
        self.verify = Some(Verify { seq, hash, upto });
    }

    /// Returns `true` if acknowledgements and batches have to wait.
    pub(super) fn is_held(&self) -> bool {
        self.reminting || self.verify.is_some()
    }

    /// Compares the page that was read for [`Track::verify`]; `None` if the page is another one. Returns the
    /// position to acknowledge, or [`Another`] if the cloud has another record under this number.
    ///
    /// A record that is no longer stored (dropped for the budget, or lost by the disk) cannot be compared.
    /// The cloud has that record if this agent has published the number, because a stream is compared before
    /// anything of it is published. Otherwise the cloud's record may date from before this device was
    /// restored from an older image, and only a new stream reports the loss to the cloud.
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

    /// Requests the next page if there is something to send and room in the window.
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

    /// Publishes a page: a batch per run of records, a gap per hole.
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
                    self.note_published(*to);
                    effects.push(Effect::Publish(gap));
                }
            }
        }
        self.batch(&mut run, now_ms, effects);
    }

    /// Notes that everything up to `upto` is published. A page may hold records of which the queue's own
    /// notice has not arrived yet: they were given nevertheless, and their acknowledgement may come first.
    fn note_published(&mut self, upto: u64) {
        self.sent = upto;
        self.published = self.published.max(upto);
        self.info.next = self.info.next.max(upto + 1);
    }

    fn batch(&mut self, run: &mut Vec<&[u8]>, now_ms: u64, effects: &mut Vec<Effect>) {
        if run.is_empty() {
            return;
        }
        let first = self.sent + 1;
        let count = run.len() as u64;
        let bytes = encode_batch(self.info.stream, first, run.drain(..));
        self.note_published(self.sent + count);
        self.window.sent(self.sent, bytes.len(), now_ms);
        effects.push(Effect::Publish(bytes));
    }
}

/// Returns the fingerprint of an encoded record; `None` if the bytes are not a record.
fn fingerprint(record: &[u8]) -> Option<u32> {
    serde_json::from_slice::<Record<'_>>(record)
        .ok()
        .map(|record| record.fingerprint())
}
