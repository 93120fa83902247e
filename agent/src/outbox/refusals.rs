//! Refused records that wait to become dead letters. The cloud decides on their number, so their cost is
//! bounded. Pure.

use std::collections::VecDeque;

use iottly_protocol::{StreamClass, limits};

/// Maximum number of refusals that wait for the queue's thread; further ones are only counted.
const MAX_WAITING: usize = 64;
/// Maximum number of dead letters written in a minute; further ones are only counted.
const MAX_A_MINUTE: u32 = 10;
/// Period of that limit, in milliseconds.
const MINUTE_MS: u64 = 60_000;

/// Record that the cloud refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) class: StreamClass,
    pub(super) seq: u64,
    pub(super) reason: String,
}

/// Waiting refusals, and the number of those beyond the limit.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    waiting: VecDeque<Refusal>,
    dropped: u64,
}

impl Refusals {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.dropped == 0
    }

    /// Adds a refusal; beyond the limit, counts it.
    pub(super) fn add(&mut self, class: StreamClass, seq: u64, reason: &str) {
        if self
            .waiting
            .iter()
            .any(|known| (known.class, known.seq) == (class, seq))
        {
            return;
        }
        if self.waiting.len() >= MAX_WAITING {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        let reason = limits::clip(reason, limits::MAX_TEXT_BYTES).to_owned();
        self.waiting.push_back(Refusal { class, seq, reason });
    }

    /// Removes and returns the waiting refusals and the number of dropped ones.
    pub(super) fn take(&mut self) -> (VecDeque<Refusal>, u64) {
        (
            std::mem::take(&mut self.waiting),
            std::mem::take(&mut self.dropped),
        )
    }
}

/// Budget of dead letters.
#[derive(Debug, Default)]
pub(super) struct LetterBudget {
    since_ms: u64,
    written: u32,
}

impl LetterBudget {
    /// Returns `true` if another dead letter may be written.
    pub(super) fn allows(&mut self, now_ms: u64) -> bool {
        if now_ms.saturating_sub(self.since_ms) >= MINUTE_MS {
            *self = Self {
                since_ms: now_ms,
                written: 0,
            };
        }
        self.written < MAX_A_MINUTE
    }

    /// Counts a written dead letter.
    pub(super) fn spend(&mut self) {
        self.written = self.written.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use iottly_protocol::StreamClass::{Control, History};

    use super::*;

    #[test]
    fn what_waits_is_bounded_in_number_and_size_and_the_rest_is_counted() {
        let mut refusals = Refusals::default();
        for seq in 0..1000 {
            refusals.add(History, seq, &"r".repeat(1 << 20));
            refusals.add(History, seq.min(10), "the same number again");
        }
        let (waiting, dropped) = refusals.take();
        assert_eq!((waiting.len(), dropped), (MAX_WAITING, 1000 - MAX_WAITING as u64));
        assert!(
            waiting
                .iter()
                .all(|refusal| refusal.reason.len() <= limits::MAX_TEXT_BYTES)
        );
        assert!(refusals.is_empty());
        refusals.add(History, 1, "r");
        refusals.add(Control, 1, "another stream");
        assert_eq!(refusals.take().0.len(), 2);
    }

    #[test]
    fn a_minute_has_its_budget() {
        let mut budget = LetterBudget::default();
        let mut spend = |now_ms| budget.allows(now_ms) && (budget.spend(), true).1;
        assert_eq!((0..100).filter(|n| spend(*n)).count(), MAX_A_MINUTE as usize);
        assert!(!spend(MINUTE_MS - 1));
        assert_eq!(
            (0..100).filter(|n| spend(MINUTE_MS + n)).count(),
            MAX_A_MINUTE as usize
        );
    }
}
