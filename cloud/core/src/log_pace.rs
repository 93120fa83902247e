//! Log lines that somebody outside can cause as often as they like: one in a while, with the number of those
//! left out.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time between two lines of one kind.
const EVERY: Duration = Duration::from_secs(10);

/// The pace of one kind of line; a static beside the place that writes it.
#[derive(Debug)]
pub struct LogPace(Mutex<(Option<Instant>, u64)>);

impl LogPace {
    pub const fn new() -> Self {
        Self(Mutex::new((None, 0)))
    }

    /// Returns how many lines were left out since the last one, if one may be written now.
    pub fn ask(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state
            .0
            .is_some_and(|last| now.saturating_duration_since(last) < EVERY)
        {
            state.1 += 1;
            return None;
        }
        state.0 = Some(now);
        Some(std::mem::take(&mut state.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_lines_is_one_line_and_a_count() {
        let (pace, start) = (LogPace::new(), Instant::now());
        assert_eq!(pace.ask(start), Some(0));
        assert!((0..1000).all(|_| pace.ask(start).is_none()));
        assert_eq!(pace.ask(start + EVERY), Some(1000));
        assert_eq!(pace.ask(start + EVERY * 2), Some(0));
    }
}
