//! Figures about the firmware for the report about the device's health: written by the firmware's thread, read by the
//! report. Only what the thread counts is here; nothing is decided.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use iottly_protocol::health::FirmwareHealth;
use iottly_sandbox::Usage;
use tokio::sync::watch;

/// Figures about the firmware; cheap to clone.
#[derive(Clone)]
pub(crate) struct Meter {
    figures: Arc<Mutex<Figures>>,
    /// Number of traps and starts.
    changes: Arc<watch::Sender<u64>>,
}

struct Figures {
    digest: String,
    memory_bytes: usize,
    memory_limit_bytes: usize,
    usage: Usage,
    /// Time since which calls are counted.
    since: Instant,
    traps: u64,
    restarts: u64,
    trapped: Option<Instant>,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self {
            figures: Arc::new(Mutex::new(Figures {
                digest: String::new(),
                memory_bytes: 0,
                memory_limit_bytes: 0,
                usage: Usage::default(),
                since: Instant::now(),
                traps: 0,
                restarts: 0,
                trapped: None,
            })),
            changes: Arc::new(watch::Sender::new(0)),
        }
    }

    /// Returns a watch of the number of traps and starts.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Notes what is about to run.
    pub(super) fn starts(&self, digest: &str) {
        digest.clone_into(&mut self.figures().digest);
    }

    /// Notes that no firmware is installed.
    pub(super) fn nothing_runs(&self) {
        self.figures().digest.clear();
    }

    /// Adds what calls have used.
    pub(super) fn used(&self, usage: Usage) {
        let mut figures = self.figures();
        figures.memory_bytes = usage.memory_bytes;
        figures.memory_limit_bytes = usage.memory_limit_bytes;
        let known = &mut figures.usage;
        known.calls = known.calls.saturating_add(usage.calls);
        known.longest = known.longest.max(usage.longest);
        known.budget_permille = known.budget_permille.max(usage.budget_permille);
    }

    /// Notes that the instance has ended: its memory is free.
    pub(super) fn ended(&self) {
        self.figures().memory_bytes = 0;
    }

    /// Notes a trap.
    pub(super) fn trapped(&self) {
        {
            let mut figures = self.figures();
            figures.traps = figures.traps.saturating_add(1);
            figures.trapped = Some(Instant::now());
        }
        self.changes.send_modify(|count| *count += 1);
    }

    /// Notes a restart after a failure; [`Meter::runs`] follows unless it fails.
    pub(super) fn restarted(&self) {
        let mut figures = self.figures();
        figures.restarts = figures.restarts.saturating_add(1);
    }

    /// Notes that the firmware runs: its `init` has returned.
    pub(super) fn runs(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Returns the figures, and begins the count of calls again; none if there was no firmware.
    pub(crate) fn take(&self) -> Option<FirmwareHealth> {
        let now = Instant::now();
        let mut figures = self.figures();
        let usage = std::mem::take(&mut figures.usage);
        let since = std::mem::replace(&mut figures.since, now);
        if figures.digest.is_empty() && figures.traps == 0 && figures.restarts == 0 {
            return None;
        }
        let millis = |since: Instant| {
            u64::try_from(now.saturating_duration_since(since).as_millis()).unwrap_or(u64::MAX)
        };
        Some(FirmwareHealth {
            digest: figures.digest.clone(),
            memory_bytes: figures.memory_bytes as u64,
            memory_limit_bytes: figures.memory_limit_bytes as u64,
            over_ms: millis(since),
            calls: usage.calls,
            longest_us: u64::try_from(usage.longest.as_micros()).unwrap_or(u64::MAX),
            budget_permille: usage.budget_permille,
            traps: figures.traps,
            restarts: figures.restarts,
            trapped_ms: figures.trapped.map(millis),
        })
    }

    fn figures(&self) -> MutexGuard<'_, Figures> {
        // Every change of the figures is complete or was not begun.
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn calls_count_from_report_to_report_and_traps_from_the_start() {
        let meter = Meter::new();
        let mut changes = meter.changes();
        assert_eq!(meter.take(), None, "there was no firmware");
        meter.starts(&"a".repeat(64));
        let usage = |calls, milliseconds| Usage {
            calls,
            longest: Duration::from_millis(milliseconds),
            budget_permille: milliseconds * 10,
            memory_bytes: 3 << 20,
            memory_limit_bytes: 16 << 20,
        };
        meter.used(usage(1, 40));
        meter.used(usage(2, 10));
        meter.trapped();
        let first = meter.take().expect("there was firmware");
        assert_eq!(
            (first.calls, first.longest_us, first.budget_permille),
            (3, 40_000, 400)
        );
        assert_eq!((first.memory_bytes, first.traps, first.restarts), (3 << 20, 1, 0));
        assert!(first.trapped_ms.is_some_and(|age| age < 60_000));
        assert!(changes.has_changed().expect("the meter lives"));
        changes.mark_unchanged();
        meter.ended();
        meter.restarted();
        meter.runs();
        assert!(changes.has_changed().expect("the meter lives"));
        let second = meter.take().expect("there was firmware");
        assert_eq!((second.calls, second.longest_us, second.memory_bytes), (0, 0, 0));
        assert_eq!((second.traps, second.restarts), (1, 1));
    }
}
