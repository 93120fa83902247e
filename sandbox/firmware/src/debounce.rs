//! Debouncing of buttons. Reads no pin and no clock.

use core::time::Duration;

/// Debouncer of a button: a level counts once it has lasted.
///
/// Call [`Debounce::edge`] at every edge, and [`Debounce::settled`] with the level after the returned time.
#[derive(Debug, Clone)]
pub struct Debounce {
    hold: Duration,
    level: bool,
    changed: Duration,
}

impl Debounce {
    /// Returns a debouncer of a button that is at `level`; a change counts after it has lasted for `hold`.
    #[must_use]
    pub const fn new(hold: Duration, level: bool) -> Self {
        Self {
            hold,
            level,
            changed: Duration::ZERO,
        }
    }

    /// Notes an edge at the time `at`. Returns the time after which to read the level.
    pub fn edge(&mut self, at: Duration) -> Duration {
        self.changed = at;
        self.hold
    }

    /// Notes the level at the time `now`. Returns it if it counts and differs from the one before.
    pub fn settled(&mut self, level: bool, now: Duration) -> Option<bool> {
        let quiet = now.saturating_sub(self.changed) >= self.hold;
        if !quiet || level == self.level {
            return None;
        }
        self.level = level;
        Some(level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn bouncing_counts_once() {
        let mut button = Debounce::new(20 * MS, false);
        for at in [100, 101, 103, 106] {
            assert_eq!(button.edge(at * MS), 20 * MS);
        }
        assert_eq!(
            button.settled(true, 120 * MS),
            None,
            "14 ms of quiet are not enough"
        );
        assert_eq!(button.settled(true, 126 * MS), Some(true));
        assert_eq!(button.settled(true, 200 * MS), None, "nothing new");
        button.edge(300 * MS);
        assert_eq!(button.settled(false, 320 * MS), Some(false));
    }

    #[test]
    fn a_spike_is_no_press() {
        let mut button = Debounce::new(20 * MS, false);
        button.edge(10 * MS);
        button.edge(11 * MS);
        assert_eq!(button.settled(false, 40 * MS), None);
    }
}
