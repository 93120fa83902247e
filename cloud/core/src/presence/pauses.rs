//! Usual pause of a device between two sendings, by the last ones. Pure.

use crate::model::UnixMs;

/// Number of sendings that are remembered.
const REMEMBERED: usize = 9;
/// Number of pauses that make a usual one; before, a device is never silent.
const ENOUGH: usize = 3;
/// Time within which several messages count as one sending, in milliseconds.
const TOGETHER_MS: UnixMs = 250;
/// Shortest silence that is called one, in milliseconds: a device that sends many times a second may stutter.
const SHORTEST_MS: UnixMs = 10_000;
/// Silence, as a multiple of the usual pause.
const SILENT_AFTER: UnixMs = 3;

/// Times of the last sendings of a device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pauses {
    /// Times in the order of receipt.
    times: [UnixMs; REMEMBERED],
    count: usize,
}

impl Pauses {
    /// Takes the time of a message; of several that come together, the last counts.
    pub fn sent(&mut self, at: UnixMs) {
        match self.last() {
            Some(last) if at.saturating_sub(last) < TOGETHER_MS => self.times[self.count - 1] = at.max(last),
            _ if self.count == REMEMBERED => {
                self.times.rotate_left(1);
                self.times[REMEMBERED - 1] = at;
            }
            _ => {
                self.times[self.count] = at;
                self.count += 1;
            }
        }
    }

    /// Returns the time of the last message.
    #[must_use]
    pub fn last(&self) -> Option<UnixMs> {
        self.times[..self.count].last().copied()
    }

    /// Returns the usual pause: the second longest of the last eight, so that a single long one, such as an outage, does
    /// not count; none while there are fewer than three.
    #[must_use]
    pub fn usual(&self) -> Option<UnixMs> {
        let times = &self.times[..self.count];
        let mut pauses: Vec<_> = times
            .windows(2)
            .map(|pair| pair[1].saturating_sub(pair[0]))
            .collect();
        pauses.sort_unstable();
        (pauses.len() >= ENOUGH).then(|| pauses[pauses.len() - 2])
    }

    /// Returns the time from which the device is silent unless it sends before.
    #[must_use]
    pub fn silent_at(&self) -> Option<UnixMs> {
        let silence = self.usual()?.saturating_mul(SILENT_AFTER).max(SHORTEST_MS);
        Some(self.last()?.saturating_add(silence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(times: &[UnixMs]) -> Pauses {
        let mut pauses = Pauses::default();
        times.iter().for_each(|at| pauses.sent(*at));
        pauses
    }

    #[test]
    fn a_device_is_silent_after_three_usual_pauses() {
        assert_eq!(pauses(&[0, 20_000, 40_000]).silent_at(), None, "too few");
        assert_eq!(pauses(&[0, 20_000, 40_000, 60_000]).silent_at(), Some(120_000));
        assert_eq!(
            pauses(&[0, 20_000, 40_000, 60_000, 960_000]).silent_at(),
            Some(1_020_000),
            "an outage does not count"
        );
    }

    #[test]
    fn what_comes_together_is_one_sending_and_fast_ones_may_stutter() {
        let burst: Vec<_> = (0..100).collect();
        assert_eq!(pauses(&burst).usual(), None);
        let fast: Vec<_> = (0..50).map(|n| n * 500).collect();
        assert_eq!(pauses(&fast).silent_at(), Some(49 * 500 + SHORTEST_MS));
    }

    #[test]
    fn a_clock_that_steps_back_makes_no_pause() {
        assert_eq!(pauses(&[0, 20_000, 40_000, 60_000, 1]).last(), Some(60_000));
    }
}
