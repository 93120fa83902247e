//! Steps that an evaluation may take, and the flag that cancels it.

use std::sync::atomic::{AtomicBool, Ordering};

/// Steps between two reads of the flag that cancels an evaluation.
const LOOK_EVERY: u64 = 1 << 14;

/// Steps that evaluations may still take.
///
/// A step is the work on one element, one field name, one byte of a text, or one state of a regular
/// expression: a few nanoseconds. Steps are spent inside the innermost loops, so that no filter and no document
/// exceeds the budget.
#[derive(Debug)]
pub struct Budget<'f> {
    left: u64,
    unlooked: u64,
    cancelled: Option<&'f AtomicBool>,
    stopped_at: Option<String>,
}

impl<'f> Budget<'f> {
    /// Creates a budget of `steps` steps.
    #[must_use]
    pub const fn steps(steps: u64) -> Self {
        Self {
            left: steps,
            unlooked: 0,
            cancelled: None,
            stopped_at: None,
        }
    }

    /// Creates a budget that never ends, for trusted filters and documents.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self::steps(u64::MAX)
    }

    /// Ends evaluations soon after the flag is set.
    #[must_use]
    pub const fn cancelled_by(mut self, flag: &'f AtomicBool) -> Self {
        self.cancelled = Some(flag);
        self
    }

    /// Returns the steps that are left.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.left
    }

    /// Spends steps for work outside the evaluation, such as reading the document; at most what is left.
    pub const fn charge(&mut self, steps: u64) {
        self.left = self.left.saturating_sub(steps);
    }

    /// Spends steps before they are made.
    pub(super) fn spend(&mut self, steps: u64) -> Result<(), Stop> {
        match self.left.checked_sub(steps) {
            Some(left) => self.left = left,
            None => {
                self.left = 0;
                return Err(Stop::Steps);
            }
        }
        self.unlooked = self.unlooked.saturating_add(steps);
        if self.unlooked >= LOOK_EVERY {
            self.unlooked = 0;
            if self.cancelled.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
                return Err(Stop::Cancelled);
            }
        }
        Ok(())
    }

    /// Remembers the innermost path whose condition was evaluated when the evaluation stopped.
    pub(super) fn stopped_at(&mut self, path: impl FnOnce() -> String) {
        if self.stopped_at.is_none() {
            self.stopped_at = Some(path());
        }
    }

    /// Returns the public reason of a stop.
    pub(super) fn undecided(&mut self, stop: Stop) -> Undecided {
        match stop {
            Stop::Steps => Undecided::TooExpensive {
                path: self.stopped_at.take().unwrap_or_default(),
            },
            Stop::Cancelled => Undecided::Cancelled,
        }
    }
}

/// Reason inside an evaluation to end it without a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    Steps,
    Cancelled,
}

/// Returns whether `holds` for an item; ends at the first.
pub(super) fn any<'a, T>(
    items: &'a [T],
    mut holds: impl FnMut(&'a T) -> Result<bool, Stop>,
) -> Result<bool, Stop> {
    for item in items {
        if holds(item)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns whether `holds` for all items; ends at the first for which it does not.
pub(super) fn all<'a, T>(
    items: &'a [T],
    mut holds: impl FnMut(&'a T) -> Result<bool, Stop>,
) -> Result<bool, Stop> {
    Ok(!any(items, |item| holds(item).map(|holds| !holds))?)
}

/// Reason why an evaluation ended without a decision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undecided {
    /// The budget of steps was used up.
    #[error("filter is too expensive for this document (at {path})")]
    TooExpensive {
        /// Path of the condition that was being evaluated.
        path: String,
    },
    /// The flag of the budget was set.
    #[error("evaluation of the filter was cancelled")]
    Cancelled,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_ends_and_stays_ended() {
        let mut budget = Budget::steps(10);
        assert_eq!((budget.spend(7), budget.left()), (Ok(()), 3));
        assert_eq!((budget.spend(4), budget.left()), (Err(Stop::Steps), 0));
        assert_eq!(budget.spend(1), Err(Stop::Steps));
    }

    #[test]
    fn a_set_flag_ends_it_within_the_interval() {
        let flag = AtomicBool::new(true);
        let mut budget = Budget::unlimited().cancelled_by(&flag);
        assert_eq!(budget.spend(LOOK_EVERY - 1), Ok(()));
        assert_eq!(budget.spend(1), Err(Stop::Cancelled));
    }
}
