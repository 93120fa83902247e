//! Turns for work that strangers can ask for, so that a flood of it leaves the processor to those who are connected.
//! Pure: the caller waits.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Turns at a steady rate, after a burst, given in the order of the requests.
#[derive(Debug)]
pub struct Turns {
    interval: Duration,
    burst: Duration,
    patience: Duration,
    /// Time of the next turn if all requests had come at the steady rate.
    next: Mutex<Option<Instant>>,
}

impl Turns {
    /// Creates `per_second` turns a second, `burst` of them at once after a pause. No client waits for longer than
    /// `patience`.
    #[must_use]
    pub fn new(per_second: u32, burst: u32, patience: Duration) -> Self {
        let interval = Duration::from_secs(1) / per_second;
        Self {
            interval,
            burst: interval * burst,
            patience,
            next: Mutex::new(None),
        }
    }

    /// Returns the time to wait for one's turn; `None` if it would be longer than allowed, and takes no turn then.
    pub fn take(&self, now: Instant) -> Option<Duration> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let at = next.map_or(now, |next| next.max(now));
        // A turn may come early by the burst.
        let wait = at.saturating_duration_since(now).saturating_sub(self.burst);
        if wait > self.patience {
            return None;
        }
        *next = Some(at + self.interval);
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_come_at_a_steady_rate_after_the_burst() {
        let turns = Turns::new(100, 10, Duration::from_secs(2));
        let now = Instant::now();
        let waits: Vec<_> = (0..1000).map_while(|_| turns.take(now)).collect();
        assert!(waits[..11].iter().all(Duration::is_zero), "{:?}", &waits[..11]);
        assert_eq!(waits[11], Duration::from_millis(10));
        assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]), "in order");
        assert_eq!(waits.len(), 10 + 200 + 1, "no wait is longer than 2 s");
        assert!(turns.take(now).is_none());
        // A second later a hundred turns have passed.
        let later = now + Duration::from_secs(1);
        assert_eq!((0..1000).map_while(|_| turns.take(later)).count(), 100);
        let rested = now + Duration::from_secs(60);
        assert_eq!(turns.take(rested), Some(Duration::ZERO));
    }
}
