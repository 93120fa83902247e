//! The decision to send the service manager a sign of life: only when every part of the agent has made progress since
//! the last one. Reads no clock and sends nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Rounds without a sign of life after which the part that has stopped is named in the log.
const NAMED_AFTER: u32 = 30;

/// Progress of one part, which its thread or task reports.
#[derive(Debug)]
struct Progress {
    name: &'static str,
    /// The part's loop has begun another turn since the last sign of life.
    turned: AtomicBool,
    /// Rounds for which a long step may still go on; 0 outside of one.
    allowed: AtomicU32,
}

/// Reports the progress of one part; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Part(Arc<Progress>);

impl Part {
    /// Reports that the part's loop begins another turn.
    pub(crate) fn turn(&self) {
        self.0.turned.store(true, Ordering::Relaxed);
    }

    /// Announces a step that may take longer than the pause between two signs of life, and at most `rounds`. Until then
    /// the part counts as progressing; afterwards, or when the guard is dropped, it has to turn again.
    pub(crate) fn long(&self, rounds: u32) -> Long {
        self.0.allowed.store(rounds, Ordering::Relaxed);
        Long(self.clone())
    }
}

/// Guard of a long step.
#[derive(Debug)]
pub(crate) struct Long(Part);

impl Drop for Long {
    fn drop(&mut self) {
        self.0.0.allowed.store(0, Ordering::Relaxed);
        self.0.turn();
    }
}

/// Decision of one round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beat {
    /// Every part has made progress: send a sign of life.
    Send,
    /// A part has made none yet.
    Wait,
    /// This part has made none for so long that the log names it.
    Name(&'static str),
}

/// Parts of the agents of this process. A part stays until its agent ends, even if its thread or task is gone: one that
/// has panicked makes no progress either.
#[derive(Debug)]
pub(super) struct Parts {
    last: u64,
    known: BTreeMap<u64, Arc<Progress>>,
    /// Rounds since the last sign of life.
    waited: u32,
}

impl Parts {
    pub(super) const fn new() -> Self {
        Self {
            last: 0,
            known: BTreeMap::new(),
            waited: 0,
        }
    }

    /// Adds a part. Returns its number and what reports its progress.
    pub(super) fn add(&mut self, name: &'static str) -> (u64, Part) {
        let progress = Arc::new(Progress {
            name,
            turned: AtomicBool::new(true),
            allowed: AtomicU32::new(0),
        });
        self.last += 1;
        self.known.insert(self.last, Arc::clone(&progress));
        (self.last, Part(progress))
    }

    /// Removes a part whose agent ends.
    pub(super) fn remove(&mut self, number: u64) {
        self.known.remove(&number);
    }

    /// Counts a round and decides. Without parts there is nothing that could stop.
    pub(super) fn round(&mut self) -> Beat {
        let mut still = None;
        for part in self.known.values() {
            let allowed = part.allowed.load(Ordering::Relaxed);
            if allowed > 0 {
                // Zero only by the end of the step or of its time: the step may end at the same moment.
                let fewer =
                    part.allowed
                        .compare_exchange(allowed, allowed - 1, Ordering::Relaxed, Ordering::Relaxed);
                if fewer.is_ok() {
                    continue;
                }
            }
            if !part.turned.load(Ordering::Relaxed) {
                still = Some(part.name);
            }
        }
        let Some(name) = still else {
            for part in self.known.values() {
                part.turned.store(false, Ordering::Relaxed);
            }
            self.waited = 0;
            return Beat::Send;
        };
        self.waited = self.waited.saturating_add(1);
        if self.waited == NAMED_AFTER {
            Beat::Name(name)
        } else {
            Beat::Wait
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 5] = ["queue", "link", "inbox", "guest", "update"];

    fn five() -> (Parts, Vec<Part>) {
        let mut parts = Parts::new();
        let handles = NAMES.map(|name| parts.add(name).1);
        assert_eq!(parts.round(), Beat::Send, "new parts count as progressing");
        (parts, handles.into())
    }

    #[test]
    fn a_beat_needs_progress_of_every_part_since_the_last_one() {
        let (mut parts, handles) = five();
        for round in 0..100 {
            for (n, part) in handles.iter().enumerate() {
                assert_eq!(parts.round(), Beat::Wait, "round {round}: {n} of 5 have turned");
                part.turn();
            }
            assert_eq!(parts.round(), Beat::Send);
        }
    }

    #[test]
    fn a_part_that_stops_ends_the_beats_and_is_named_once() {
        for (stopped, name) in NAMES.into_iter().enumerate() {
            let (mut parts, handles) = five();
            let seen: Vec<_> = (0..3 * NAMED_AFTER)
                .map(|_| {
                    let others = handles.iter().enumerate().filter(|(n, _)| *n != stopped);
                    others.for_each(|(_, part)| part.turn());
                    parts.round()
                })
                .filter(|beat| *beat != Beat::Wait)
                .collect();
            assert_eq!(seen, [Beat::Name(name)]);
            handles.iter().for_each(Part::turn);
            assert_eq!(parts.round(), Beat::Send, "beats return with the part");
        }
    }

    #[test]
    fn a_part_whose_thread_is_gone_counts_as_stopped() {
        let (mut parts, mut handles) = five();
        drop(handles.pop());
        handles.iter().for_each(Part::turn);
        assert_eq!(parts.round(), Beat::Wait);
    }

    #[test]
    fn a_long_step_counts_as_progress_until_its_time_is_over() {
        let (mut parts, handles) = five();
        let step = handles[3].long(10);
        for round in 0..20 {
            handles[..3].iter().for_each(Part::turn);
            handles[4].turn();
            let expected = if round < 10 { Beat::Send } else { Beat::Wait };
            assert_eq!(parts.round(), expected, "round {round}");
        }
        drop(step);
        handles[..3].iter().for_each(Part::turn);
        handles[4].turn();
        assert_eq!(parts.round(), Beat::Send, "the end of the step is progress");
        assert_eq!(parts.round(), Beat::Wait);
    }

    #[test]
    fn the_parts_of_an_agent_that_ends_are_asked_no_more() {
        let mut parts = Parts::new();
        let (number, _part) = parts.add("queue");
        assert_eq!(parts.round(), Beat::Send);
        assert_eq!(parts.round(), Beat::Wait);
        parts.remove(number);
        assert_eq!(parts.round(), Beat::Send);
        assert!(parts.known.is_empty());
    }
}
