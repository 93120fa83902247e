//! Health of a device as people see it: what a report of its agent means some time later. Pure.

use iottly_protocol::health::HealthReport;

use crate::model::UnixMs;

/// Part of the queue's budget from which on the queue counts as nearly full, in percent.
pub const NEARLY_FULL_PERCENT: u64 = 80;
/// Time for which a trap of the firmware is warned of, in milliseconds: an hour.
pub const TRAPPED_LATELY_MS: UnixMs = 60 * 60 * 1000;

/// Latest report of a device about its health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceHealth {
    /// Report as the device sent it.
    pub report: HealthReport,
    /// Time of receipt.
    pub at: UnixMs,
}

impl DeviceHealth {
    /// Returns the number of records of both streams that wait on the device.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        let HealthReport { history, control, .. } = &self.report;
        history.waiting.saturating_add(control.waiting)
    }

    /// Returns the age that the oldest record had at the time of the report, in milliseconds.
    #[must_use]
    pub fn oldest_ms(&self) -> Option<u64> {
        let HealthReport { history, control, .. } = &self.report;
        history.oldest_ms.max(control.oldest_ms)
    }

    /// Returns the size of the queue on the device's disk, in bytes.
    #[must_use]
    pub fn queue_bytes(&self) -> u64 {
        let HealthReport { history, control, .. } = &self.report;
        history.bytes.saturating_add(control.bytes)
    }

    /// Returns the number of records that were lost on the device since its agent's start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        let HealthReport { history, control, .. } = &self.report;
        history.lost.saturating_add(control.lost)
    }

    /// Returns the part of its budget that the queue takes, in percent of at most 100.
    #[must_use]
    pub fn queue_percent(&self) -> u64 {
        percent(self.queue_bytes(), self.report.queue_budget_bytes)
    }

    /// Returns true if records wait in a queue that has nearly used up its budget. Without records the device's disk is
    /// about to be freed.
    #[must_use]
    pub fn is_queue_nearly_full(&self) -> bool {
        self.waiting() > 0 && self.queue_percent() > NEARLY_FULL_PERCENT
    }

    /// Returns the part of the memory that the firmware may use which it uses, in percent of at most 100.
    #[must_use]
    pub fn memory_percent(&self) -> Option<u64> {
        let firmware = self.report.firmware.as_ref()?;
        Some(percent(firmware.memory_bytes, firmware.memory_limit_bytes))
    }

    /// Returns the time of the firmware's last trap.
    #[must_use]
    pub fn trapped_at(&self) -> Option<UnixMs> {
        let age = self.report.firmware.as_ref()?.trapped_ms?;
        Some(
            self.at
                .saturating_sub(UnixMs::try_from(age).unwrap_or(UnixMs::MAX)),
        )
    }

    /// Returns true if the firmware has trapped within the hour before `now`.
    #[must_use]
    pub fn has_trapped_lately(&self, now: UnixMs) -> bool {
        self.trapped_at()
            .is_some_and(|at| now.saturating_sub(at) < TRAPPED_LATELY_MS)
    }
}

fn percent(part: u64, whole: u64) -> u64 {
    let percent = u128::from(part) * 100 / u128::from(whole.max(1));
    u64::try_from(percent).unwrap_or(u64::MAX).min(100)
}

#[cfg(test)]
mod tests {
    use iottly_protocol::health::{FirmwareHealth, MAX_HEALTH_NUMBER, StreamHealth};

    use super::*;

    fn health(waiting: u64, bytes: u64, trapped_ms: Option<u64>) -> DeviceHealth {
        DeviceHealth {
            report: HealthReport {
                up_ms: 0,
                queue_budget_bytes: 1000,
                history: StreamHealth {
                    waiting,
                    bytes,
                    oldest_ms: (waiting > 0).then_some(5000),
                    lost: 2,
                },
                control: StreamHealth {
                    waiting: 1,
                    bytes: 1,
                    oldest_ms: Some(90),
                    lost: 1,
                },
                firmware: Some(FirmwareHealth {
                    memory_bytes: 1 << 20,
                    memory_limit_bytes: 16 << 20,
                    trapped_ms,
                    ..FirmwareHealth::default()
                }),
            },
            at: 10_000_000,
        }
    }

    #[test]
    fn a_queue_is_nearly_full_above_four_fifths_of_its_budget() {
        assert!(!health(3, 799, None).is_queue_nearly_full());
        assert!(
            !health(3, 800, None).is_queue_nearly_full(),
            "801 of 1000 are 80 %"
        );
        assert!(health(3, 809, None).is_queue_nearly_full());
        let mut drained = health(0, 999, None);
        drained.report.control.waiting = 0;
        assert!(!drained.is_queue_nearly_full());
    }

    #[test]
    fn both_streams_count() {
        let health = health(3, 10, None);
        assert_eq!(
            (
                health.waiting(),
                health.queue_bytes(),
                health.lost(),
                health.oldest_ms()
            ),
            (4, 11, 3, Some(5000))
        );
        assert_eq!(health.memory_percent(), Some(6));
    }

    #[test]
    fn a_trap_is_late_for_an_hour() {
        let health = health(0, 0, Some(60_000));
        assert_eq!(health.trapped_at(), Some(9_940_000));
        assert!(health.has_trapped_lately(9_940_000 + TRAPPED_LATELY_MS - 1));
        assert!(!health.has_trapped_lately(9_940_000 + TRAPPED_LATELY_MS));
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let mut health = health(MAX_HEALTH_NUMBER, MAX_HEALTH_NUMBER, Some(MAX_HEALTH_NUMBER));
        health.report.queue_budget_bytes = 0;
        assert_eq!(health.queue_percent(), 100);
        assert!(!health.has_trapped_lately(health.at));
        assert!(health.waiting() > MAX_HEALTH_NUMBER);
    }
}
