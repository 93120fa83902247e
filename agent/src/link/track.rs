//! One stream's way to the cloud: what was sent, what is acknowledged, what comes next.

use iottly_protocol::{Gap, StreamInfo, Up, encode_batch, limits};

use super::session::Effect;
use super::window::Window;
use crate::outbox::Item;

/// One stream's position.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) info: StreamInfo,
    /// Highest number published on this connection or acknowledged.
    pub(super) sent: u64,
    window: Window,
    /// The number from which a read is under way.
    pub(super) reading: Option<u64>,
    /// A new stream id was asked for and is not there yet.
    pub(super) reminting: bool,
    /// A read failed; the next timer tries again.
    pub(super) retry_at_ms: Option<u64>,
}

impl Track {
    pub(super) fn new(info: StreamInfo) -> Self {
        let sent = info.oldest - 1;
        Self { info, sent, window: Window::new(), reading: None, reminting: false, retry_at_ms: None }
    }

    /// Goes over to a new stream. A read under way is still answered, for the old one.
    pub(super) fn restart(&mut self, info: StreamInfo) {
        *self = Self { reading: self.reading, ..Self::new(info) };
    }

    /// Says whether `seq` is a number given and not yet acknowledged.
    pub(super) fn holds(&self, seq: u64) -> bool {
        (self.info.oldest..self.info.next).contains(&seq)
    }

    pub(super) fn deadline_ms(&self) -> Option<u64> {
        [self.window.deadline_ms(), self.retry_at_ms].into_iter().flatten().min()
    }

    pub(super) fn rewind(&mut self) {
        self.sent = self.info.oldest - 1;
        self.window.clear();
        // A new stream that did not come about is asked for again by the next welcome.
        self.reminting = false;
    }

    pub(super) fn expire(&mut self, now_ms: u64) {
        if self.retry_at_ms.is_some_and(|at| now_ms >= at) {
            self.retry_at_ms = None;
        }
        if self.window.deadline_ms().is_some_and(|deadline| now_ms >= deadline) {
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
        let from = self.sent + 1;
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
            max_records: limits::BATCH_RECORDS,
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
                    let gap = Up::Gap(Gap { stream, from: *from, to: *to, reason: *reason }).encode();
                    self.window.sent(*to, gap.len(), now_ms);
                    self.sent = *to;
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
        self.window.sent(self.sent, bytes.len(), now_ms);
        effects.push(Effect::Publish(bytes));
    }
}
