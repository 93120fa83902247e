/// First and longest pause before a restart, milliseconds.
const PAUSE_MIN_MS: u64 = 1_000;
const PAUSE_MAX_MS: u64 = 5 * 60_000;
/// Time in service after which earlier failures are forgotten, milliseconds.
const HEALTHY_MS: u64 = 10 * 60_000;
/// A failure within this time of the start counts as an early one, milliseconds.
const EARLY_MS: u64 = 60_000;
/// Early failures in a row after which the firmware is not started again.
const MAX_EARLY: u32 = 6;

/// Whether and when a firmware that failed is started again.
#[derive(Debug, Clone, Default)]
pub(super) struct RestartPolicy {
    failures: u32,
    early: u32,
    running_since_ms: Option<u64>,
}

/// What a failure says about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The firmware itself.
    Firmware,
    /// The device around it: a missing file or compiler, a full disk. Never a reason for quarantine.
    Device,
}

/// The answer to a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Start it again after this many milliseconds.
    Restart { after_ms: u64 },
    /// Leave it alone.
    Quarantine,
}

impl RestartPolicy {
    /// `init` has returned.
    pub(super) fn started(&mut self, now_ms: u64) {
        self.running_since_ms = Some(now_ms);
    }

    /// How long it has served since `init`; 0 when it has not come that far. Milliseconds.
    pub(super) fn served_ms(&self, now_ms: u64) -> u64 {
        self.running_since_ms.map_or(0, |since| now_ms.saturating_sub(since))
    }

    /// Failures before this one that still count, and so the restarts they led to.
    pub(super) const fn failures(&self) -> u32 {
        self.failures
    }

    /// It trapped, or it did not come as far as `init`'s return.
    pub(super) fn failed(&mut self, cause: Cause, now_ms: u64) -> Verdict {
        let served_ms = self.served_ms(now_ms);
        self.running_since_ms = None;
        if served_ms >= HEALTHY_MS {
            *self = Self::default();
        }
        match cause {
            Cause::Firmware if served_ms < EARLY_MS => self.early += 1,
            Cause::Firmware => self.early = 0,
            Cause::Device => {}
        }
        self.failures = self.failures.saturating_add(1);
        if self.early >= MAX_EARLY {
            return Verdict::Quarantine;
        }
        let after_ms = PAUSE_MIN_MS.checked_shl((self.failures - 1).min(20)).unwrap_or(PAUSE_MAX_MS).min(PAUSE_MAX_MS);
        Verdict::Restart { after_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn early_failures_lead_to_quarantine_over_growing_pauses() {
        let mut policy = RestartPolicy::default();
        let mut pauses = Vec::new();
        let last = loop {
            policy.started(0);
            match policy.failed(Cause::Firmware, EARLY_MS - 1) {
                Verdict::Restart { after_ms } => pauses.push(after_ms),
                verdict => break verdict,
            }
        };
        assert_eq!(last, Verdict::Quarantine);
        assert_eq!(pauses, [1_000, 2_000, 4_000, 8_000, 16_000]);
    }

    #[test]
    fn a_firmware_that_serves_a_while_is_always_restarted_within_the_limit() {
        let mut policy = RestartPolicy::default();
        let mut last = 0;
        for _ in 0..50 {
            policy.started(0);
            let Verdict::Restart { after_ms } = policy.failed(Cause::Firmware, EARLY_MS) else { panic!("quarantined") };
            assert!(after_ms >= last);
            last = after_ms;
        }
        assert_eq!(last, PAUSE_MAX_MS);
    }

    #[test]
    fn ten_healthy_minutes_forgive() {
        let mut policy = RestartPolicy::default();
        for _ in 0..4 {
            policy.failed(Cause::Firmware, 0);
        }
        policy.started(1_000);
        assert_eq!(policy.failed(Cause::Firmware, 1_000 + HEALTHY_MS), Verdict::Restart { after_ms: PAUSE_MIN_MS });
    }

    #[test]
    fn a_failure_before_the_start_is_early() {
        let mut policy = RestartPolicy::default();
        let verdicts: Vec<_> = (0..MAX_EARLY).map(|_| policy.failed(Cause::Firmware, u64::MAX)).collect();
        assert_eq!(verdicts.last(), Some(&Verdict::Quarantine));
    }

    #[test]
    fn what_lies_in_the_device_never_leads_to_quarantine() {
        let mut policy = RestartPolicy::default();
        for _ in 0..50 {
            assert_ne!(policy.failed(Cause::Device, 0), Verdict::Quarantine);
        }
    }
}
