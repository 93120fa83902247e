//! Durations of an update: its deadline and its waits. Reads no clock.

use iottly_protocol::release::{Reason, Refusal, Step};
use iottly_protocol::tuf::{Instant, Vouched};

use super::Machine;
use crate::event::{Effect, Now, refusal};

/// Longest wait for a maintenance window or for the time, in milliseconds of the agent running: a week.
pub const MAX_DEFERRED_MS: u64 = 7 * 86_400_000;
/// Distance in seconds within which a later vouched date is written with the next transition only, since each
/// write wears the disk.
const WRITE_EVERY_S: u64 = 86_400;

impl Machine {
    /// Counts the time since the last event: towards the deadline, or as waiting.
    pub(super) fn count(&mut self, now: Now) {
        let passed = now.mono_ms.saturating_sub(self.counted_ms);
        self.counted_ms = self.counted_ms.max(now.mono_ms);
        if let Some(attempt) = &mut self.memory.attempt {
            let for_time = attempt
                .why
                .as_ref()
                .is_some_and(|why| why.reason == Reason::Clock);
            let waits = attempt.state == Step::Deferred || (attempt.state == Step::VerifyingMeta && for_time);
            let counted = if waits {
                &mut attempt.waited_ms
            } else {
                &mut attempt.spent_ms
            };
            *counted = counted.saturating_add(passed);
        }
    }

    /// Returns true if the update has taken longer than it may. Time spent waiting for the window does not
    /// count.
    pub(super) fn is_overdue(&mut self) -> bool {
        let attempt = self.attempt();
        let deadline_ms = attempt.offer.deadline_s.saturating_mul(1000);
        attempt.spent_ms >= deadline_ms || attempt.waited_ms >= MAX_DEFERRED_MS
    }

    /// Returns the reason for which the update under way waits before its download, if any.
    pub(super) fn waits_for(&mut self, now: Now) -> Option<Refusal> {
        match self.attempt().offer.window {
            Some(_) if !now.clock_trusted => Some(refusal(Reason::Clock, "the time is not known")),
            Some(window) if !window.contains(Instant::from_unix(now.unix)) => {
                Some(refusal(Reason::Window, "outside its maintenance window"))
            }
            _ => None,
        }
    }

    /// Remembers what signatures vouch for; writes it at once if it must not be forgotten.
    pub(super) fn vouched(&mut self, vouched: Vouched, out: &mut Vec<Effect>) {
        let earlier = self.memory.vouched;
        let vouched = earlier.map_or(vouched, |earlier| earlier.then(vouched));
        self.memory.vouched = Some(vouched);
        // Release 0.1 of the agent reads this field, and would raise it by its system's clock.
        self.memory.clock_floor = vouched.unix;
        let urgent = earlier.is_none_or(|earlier| {
            vouched.root != earlier.root
                || vouched.unix < earlier.unix
                || vouched.unix >= earlier.unix.saturating_add(WRITE_EVERY_S)
        });
        if urgent {
            out.push(Effect::Journal(Box::new(self.memory.clone())));
        }
    }
}
