//! The decision whether and when a failed firmware is started again. Pure; the clock is an argument.

use std::time::Duration;

/// Rules for restarts of a firmware that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartRules {
    /// Pause before the first restart; each further one is twice as long.
    pub first: Duration,
    /// Longest pause before a restart.
    pub longest: Duration,
    /// Time in service after which earlier failures are forgotten.
    pub forgiven: Duration,
    /// Time after the start within which a failure counts as early.
    pub early: Duration,
    /// Number of early failures in a row after which the firmware is quarantined; none for never.
    pub max_early: Option<u32>,
    /// Pause in quarantine before the next try.
    pub quarantine: Duration,
}

impl RestartRules {
    /// Rules of a device in the field: six early failures cause a quarantine of an hour, since unplugged
    /// hardware may be plugged in again.
    pub const DEVICE: Self = Self {
        first: Duration::from_secs(1),
        longest: Duration::from_secs(300),
        forgiven: Duration::from_secs(600),
        early: Duration::from_secs(60),
        max_early: Some(6),
        quarantine: Duration::from_secs(3600),
    };
    /// Rules of `iottly run`, where the author watches the firmware.
    pub const AUTHOR: Self = Self {
        longest: Duration::from_secs(30),
        forgiven: Duration::from_secs(60),
        max_early: None,
        ..Self::DEVICE
    };
}

/// Party at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The firmware itself.
    Firmware,
    /// The device around the firmware: a missing file or compiler, a full disk, no memory, no threads. Never
    /// a reason for quarantine.
    Device,
}

/// Consequence of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartVerdict {
    /// Start the firmware again after this pause.
    Restart(Duration),
    /// The firmware failed too often; try once more after this pause.
    Quarantine(Duration),
}

/// Counter of one firmware's failures. Times are measured from any fixed moment.
#[derive(Debug, Clone)]
pub struct RestartPolicy {
    rules: RestartRules,
    failures: u32,
    early: u32,
    running_since: Option<Duration>,
}

impl RestartPolicy {
    /// Returns a policy without failures.
    #[must_use]
    pub const fn new(rules: RestartRules) -> Self {
        Self {
            rules,
            failures: 0,
            early: 0,
            running_since: None,
        }
    }

    /// Notes that `init` has returned.
    pub fn started(&mut self, now: Duration) {
        self.running_since = Some(now);
    }

    /// Returns how long the firmware has served since `init`; zero if `init` has not returned.
    #[must_use]
    pub fn served(&self, now: Duration) -> Duration {
        self.running_since
            .map_or(Duration::ZERO, |since| now.saturating_sub(since))
    }

    /// Returns the number of failures that still count, and so of the restarts they led to.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Notes that the firmware was stopped, or that `init` did not return.
    pub fn failed(&mut self, cause: Cause, now: Duration) -> RestartVerdict {
        let served = self.served(now);
        self.running_since = None;
        if served >= self.rules.forgiven {
            *self = Self::new(self.rules);
        }
        match cause {
            Cause::Firmware if served < self.rules.early => self.early = self.early.saturating_add(1),
            Cause::Firmware => self.early = 0,
            Cause::Device => {}
        }
        self.failures = self.failures.saturating_add(1);
        if cause == Cause::Firmware && self.rules.max_early.is_some_and(|max| self.early >= max) {
            return RestartVerdict::Quarantine(self.rules.quarantine);
        }
        let doubled = self.rules.first.saturating_mul(1 << (self.failures - 1).min(20));
        RestartVerdict::Restart(doubled.min(self.rules.longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: RestartRules = RestartRules::DEVICE;

    #[test]
    fn early_failures_lead_to_quarantine_over_growing_pauses() {
        let mut policy = RestartPolicy::new(DEVICE);
        let mut pauses = Vec::new();
        let last = loop {
            policy.started(Duration::ZERO);
            match policy.failed(Cause::Firmware, DEVICE.early - Duration::from_millis(1)) {
                RestartVerdict::Restart(pause) => pauses.push(pause.as_secs()),
                verdict => break verdict,
            }
        };
        assert_eq!(last, RestartVerdict::Quarantine(Duration::from_secs(3600)));
        assert_eq!(pauses, [1, 2, 4, 8, 16]);
    }

    #[test]
    fn quarantine_ends_with_a_try_an_hour_and_is_left_by_a_firmware_that_serves() {
        let mut policy = RestartPolicy::new(DEVICE);
        for _ in 0..6 {
            policy.failed(Cause::Firmware, Duration::ZERO);
        }
        assert!(
            matches!(
                policy.failed(Cause::Firmware, Duration::ZERO),
                RestartVerdict::Quarantine(_)
            ),
            "it fails again"
        );
        policy.started(DEVICE.quarantine);
        let later = DEVICE.quarantine + DEVICE.early;
        assert!(
            matches!(policy.failed(Cause::Firmware, later), RestartVerdict::Restart(_)),
            "it served a while"
        );
    }

    #[test]
    fn a_firmware_that_serves_a_while_is_always_restarted_within_the_limit() {
        let mut policy = RestartPolicy::new(DEVICE);
        let mut last = Duration::ZERO;
        for _ in 0..50 {
            policy.started(Duration::ZERO);
            let RestartVerdict::Restart(pause) = policy.failed(Cause::Firmware, DEVICE.early) else {
                panic!("quarantined")
            };
            assert!(pause >= last);
            last = pause;
        }
        assert_eq!(last, DEVICE.longest);
    }

    #[test]
    fn a_long_time_in_service_forgives() {
        for rules in [DEVICE, RestartRules::AUTHOR] {
            let mut policy = RestartPolicy::new(rules);
            for _ in 0..4 {
                policy.failed(Cause::Firmware, Duration::ZERO);
            }
            policy.started(Duration::from_secs(1));
            let late = Duration::from_secs(1) + rules.forgiven;
            assert_eq!(
                policy.failed(Cause::Firmware, late),
                RestartVerdict::Restart(rules.first)
            );
        }
    }

    #[test]
    fn what_lies_in_the_device_never_leads_to_quarantine() {
        let mut policy = RestartPolicy::new(DEVICE);
        for _ in 0..5 {
            policy.failed(Cause::Firmware, Duration::ZERO);
        }
        for _ in 0..50 {
            assert!(matches!(
                policy.failed(Cause::Device, Duration::ZERO),
                RestartVerdict::Restart(_)
            ));
        }
    }

    #[test]
    fn the_author_waits_half_a_minute_at_most() {
        let mut policy = RestartPolicy::new(RestartRules::AUTHOR);
        let pauses: Vec<_> = (0..7)
            .map(|_| policy.failed(Cause::Firmware, Duration::ZERO))
            .collect();
        let expected =
            [1, 2, 4, 8, 16, 30, 30].map(|seconds| RestartVerdict::Restart(Duration::from_secs(seconds)));
        assert_eq!(pauses, expected);
    }
}
