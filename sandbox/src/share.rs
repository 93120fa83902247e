//! The share of a processor that a firmware gets in the long run, beside the budget of each call. Reads no
//! clock.

use std::time::Duration;

/// Time over which the share is kept; an idle firmware may use this window's worth at once.
const WINDOW: Duration = Duration::from_secs(10);

/// Processor time that refills with real time. Times are measured from any fixed moment.
#[derive(Debug)]
pub(crate) struct CpuShare {
    percent: u32,
    /// Nanoseconds that may be used now; negative after a call that used more.
    left: i64,
    at: Duration,
}

impl CpuShare {
    pub(crate) fn new(percent: u32) -> Self {
        let mut share = Self {
            percent,
            left: 0,
            at: Duration::ZERO,
        };
        share.left = share.full();
        share
    }

    fn full(&self) -> i64 {
        nanos(WINDOW) / 100 * i64::from(self.percent)
    }

    /// Subtracts the processor time of a call.
    pub(crate) fn used(&mut self, cpu: Duration) {
        self.left = self.left.saturating_sub(nanos(cpu));
    }

    /// Returns the time until the next call may begin; zero if it may now.
    pub(crate) fn wait(&mut self, now: Duration) -> Duration {
        let gone = nanos(now.saturating_sub(self.at).min(WINDOW));
        self.at = self.at.max(now);
        self.left = self
            .left
            .saturating_add(gone / 100 * i64::from(self.percent))
            .min(self.full());
        if self.left >= 0 || self.percent == 0 {
            return Duration::ZERO;
        }
        Duration::from_nanos(self.left.unsigned_abs() * 100 / u64::from(self.percent))
    }
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_processor_in_the_long_run() {
        let mut share = CpuShare::new(50);
        let s = Duration::from_secs;
        share.used(s(5));
        assert_eq!(share.wait(s(0)), s(0), "a window's worth at once");
        share.used(s(1));
        assert_eq!(share.wait(s(0)), s(2), "one second of work takes two");
        assert_eq!(share.wait(s(2)), s(0));
    }

    #[test]
    fn a_firmware_that_always_works_gets_its_percentage() {
        let mut share = CpuShare::new(20);
        let mut now = Duration::ZERO;
        let mut cpu = Duration::ZERO;
        while now < Duration::from_secs(1000) {
            now += share.wait(now);
            share.used(Duration::from_millis(100));
            now += Duration::from_millis(100);
            cpu += Duration::from_millis(100);
        }
        let percent = cpu.as_secs_f64() / now.as_secs_f64() * 100.0;
        assert!((19.0..21.0).contains(&percent), "{percent}");
    }

    #[test]
    fn a_long_pause_gives_no_more_than_a_window() {
        let mut share = CpuShare::new(10);
        share.wait(Duration::from_secs(100_000));
        assert_eq!(share.left, nanos(Duration::from_secs(1)));
    }
}
