//! Detects a firmware that sends nothing in its trial although its predecessor sent messages. Pure; the clock
//! is an argument.
//!
//! The result is a warning and not a verdict: a release may be quiet on purpose.

use std::time::Duration;

/// Minimum number of messages of the predecessor for its rate to be known.
const MIN_MESSAGES: u64 = 3;
/// Silence, in intervals of the predecessor, after which a warning is due.
const PATIENCE: u32 = 3;
/// Minimum silence before a warning.
const LEAST: Duration = Duration::from_secs(2);

/// Comparison of the running firmware's messages with those of its predecessor.
#[derive(Debug, Default)]
pub(super) struct Silence {
    since: Duration,
    /// Messages of the predecessor and the time it served; `None` if unknown or the warning was returned.
    before: Option<(u64, Duration)>,
}

impl Silence {
    /// Returns the comparison for the successor of a firmware that has sent `sent` messages.
    pub(super) fn replaced(&self, sent: u64, now: Duration) -> Self {
        let served = now.saturating_sub(self.since);
        Self {
            since: now,
            before: (sent >= MIN_MESSAGES).then_some((sent, served)),
        }
    }

    /// Checks the running firmware, which has sent `sent` messages. Returns at most one warning per firmware.
    pub(super) fn check(&mut self, sent: u64, now: Duration) -> Option<String> {
        let (before, served) = self.before?;
        if sent > 0 {
            self.before = None;
            return None;
        }
        let rhythm = served / u32::try_from(before).unwrap_or(u32::MAX);
        let silent = now.saturating_sub(self.since);
        if silent < (rhythm * PATIENCE).max(LEAST) {
            return None;
        }
        self.before = None;
        let every = rhythm.as_secs_f64();
        Some(format!(
            "none in {:.0} s; the firmware before it sent one every {every:.1} s",
            silent.as_secs_f64()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn silence_after_a_talkative_firmware_is_remarked_once() {
        let mut silence = Silence::default().replaced(100, S * 100);
        assert_eq!(silence.check(0, S * 102), None, "the trial has just begun");
        let text = silence.check(0, S * 105).expect("a warning");
        assert_eq!(text, "none in 5 s; the firmware before it sent one every 1.0 s");
        assert_eq!(silence.check(0, S * 500), None);
    }

    #[test]
    fn quiet_ones_are_left_alone() {
        assert_eq!(
            Silence::default().replaced(2, S).check(0, S * 9_000),
            None,
            "the one before was quiet too"
        );
        let mut hourly = Silence::default().replaced(10, S * 36_000);
        assert_eq!(hourly.check(0, S * 36_040), None, "it sends one an hour");
        let mut talks = Silence::default().replaced(100, S * 100);
        assert_eq!(talks.check(1, S * 105), None);
        assert_eq!(talks.check(1, S * 999), None);
    }
}
