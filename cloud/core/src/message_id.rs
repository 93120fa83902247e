//! Generation of message ids.

use std::sync::{Mutex, PoisonError};

use crate::model::{MessageId, UnixMs};

/// Maximum step back of the clock, in milliseconds, that history timestamps do not follow.
///
/// Receive times of concurrent connections reach the store slightly out of order; a real correction of the
/// clock is larger.
const CLAMP_MS: UnixMs = 2_000;

/// Generator of ids in MongoDB's ObjectId layout: 4 bytes seconds, 5 bytes random per process, 3 bytes
/// counter.
///
/// Ids increase strictly within a process, even if the clock is set back.
#[derive(Debug)]
pub struct MessageIds {
    process: [u8; 5],
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    seconds: u32,
    counter: u32,
    timestamp: UnixMs,
}

impl MessageIds {
    /// Returns a generator whose ids contain `process`, random bytes that no other process of the
    /// installation has.
    #[must_use]
    pub fn new(process: [u8; 5]) -> Self {
        Self {
            process,
            last: Mutex::new(Last::default()),
        }
    }

    /// Returns the id and the history timestamp of something received at `now`.
    ///
    /// The timestamp is `now`, or the previous one if the clock was set back by less than two seconds, so
    /// that ids and timestamps agree on the order of what one process stored.
    pub fn stamp(&self, now: UnixMs) -> (UnixMs, MessageId) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let timestamp = if now < last.timestamp && last.timestamp - now < CLAMP_MS {
            last.timestamp
        } else {
            now
        };
        last.timestamp = timestamp;
        let seconds = u32::try_from(timestamp.max(0) / 1000).unwrap_or(u32::MAX);
        if seconds > last.seconds {
            (last.seconds, last.counter) = (seconds, 0);
        } else if last.counter == 0x00ff_ffff {
            (last.seconds, last.counter) = (last.seconds.saturating_add(1), 0);
        } else {
            last.counter += 1;
        }
        let mut id = [0; 12];
        id[..4].copy_from_slice(&last.seconds.to_be_bytes());
        id[4..9].copy_from_slice(&self.process);
        id[9..].copy_from_slice(&last.counter.to_be_bytes()[1..]);
        (timestamp, MessageId(id))
    }
    /// Returns an id for something that is made at `now` and is not in a history.
    pub fn next(&self, now: UnixMs) -> MessageId {
        self.stamp(now).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_increase_even_when_the_clock_steps_back() {
        let ids = MessageIds::new([9; 5]);
        let mut previous = None;
        for now in [5_000, 5_000, 5_001, 4_990, 1_000, 1_001, 7_000, 6_999] {
            let (_, id) = ids.stamp(now);
            assert!(previous < Some(id), "{now}: {previous:?} before {id}");
            previous = Some(id);
        }
    }

    #[test]
    fn small_steps_back_are_clamped_and_large_ones_followed() {
        let ids = MessageIds::new([9; 5]);
        assert_eq!(ids.stamp(10_000).0, 10_000);
        assert_eq!(ids.stamp(9_000).0, 10_000);
        assert_eq!(ids.stamp(3_000).0, 3_000);
    }

    #[test]
    fn a_full_counter_borrows_the_next_second() {
        let ids = MessageIds::new([1; 5]);
        ids.stamp(1_000);
        ids.last.lock().expect("unpoisoned").counter = 0x00ff_ffff;
        let (_, id) = ids.stamp(1_000);
        assert_eq!(id.0, [0, 0, 0, 2, 1, 1, 1, 1, 1, 0, 0, 0]);
    }
}
