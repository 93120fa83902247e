//! Detection of a stalled ingest.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Time that events may wait without a successful commit before the cloud reports that it is not ready.
pub const STALLED: Duration = Duration::from_secs(10);

/// Time since which events wait without a commit; none while nothing waits.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<Option<Instant>>);

impl Progress {
    /// Records that an event waits.
    pub(super) fn waiting(&self, now: Instant) {
        self.set(|since| since.or(Some(now)));
    }

    /// Records a successful commit.
    pub(super) fn committed(&self, now: Instant) {
        self.set(|since| since.map(|_| now));
    }

    /// Records that nothing waits.
    pub(super) fn idle(&self) {
        self.set(|_| None);
    }

    /// Returns true if events have waited for too long.
    pub(super) fn is_stalled(&self, now: Instant) -> bool {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| now.saturating_duration_since(since) >= STALLED)
    }

    fn set(&self, next: impl FnOnce(Option<Instant>) -> Option<Instant>) {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *since = next(*since);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_waiting_without_a_commit_is_a_stall() {
        let (progress, start) = (Progress::default(), Instant::now());
        assert!(!progress.is_stalled(start + STALLED), "nothing waits");
        progress.waiting(start);
        progress.waiting(start + STALLED / 2);
        assert!(!progress.is_stalled(start + STALLED / 2) && progress.is_stalled(start + STALLED));
        progress.committed(start + STALLED);
        assert!(!progress.is_stalled(start + STALLED) && progress.is_stalled(start + STALLED * 2));
        progress.idle();
        assert!(!progress.is_stalled(start + STALLED * 9));
    }
}
