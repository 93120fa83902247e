//! Clocks of the board. Only actors read them; all other code takes the time as an argument.

use std::fs;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Clock that never steps back, counted from its creation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Monotonic {
    start: Instant,
}

impl Monotonic {
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// Returns the time since the start.
    pub(crate) fn now(self) -> std::time::Duration {
        self.start.elapsed()
    }

    /// Returns the time since the start, in milliseconds.
    pub(crate) fn now_ms(self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Returns the date of the system's clock in unix milliseconds; wrong until the clock has been set.
pub(crate) fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Formats unix milliseconds as `2026-01-31 23:59:59` in UTC.
pub(crate) fn utc_text(unix_ms: u64) -> String {
    let (days, seconds) = (unix_ms / 86_400_000, unix_ms / 1000 % 86_400);
    let (year, month, day) = iottly_protocol::date::civil_from_days(days.cast_signed());
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// Moment that can be compared across restarts of the agent within one system start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SystemBoot {
    /// Boot id of the kernel; a random text if there is none, which equals no earlier one.
    pub(crate) id: String,
    /// Uptime of the system when this was read, in milliseconds.
    uptime_ms: u64,
}

impl SystemBoot {
    /// Reads the kernel's boot id and the time since boot.
    pub(crate) fn read() -> Self {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned());
        let uptime = fs::read_to_string("/proc/uptime")
            .ok()
            .and_then(|text| parse_uptime(&text));
        match (id, uptime) {
            (Ok(id), Some(uptime_ms)) if !id.is_empty() => Self { id, uptime_ms },
            _ => Self {
                id: iottly_protocol::BootId::random().to_string(),
                uptime_ms: 0,
            },
        }
    }

    /// Returns the uptime in milliseconds for a time of a monotonic clock that was started when this was
    /// read.
    pub(crate) fn at(&self, monotonic_ms: u64) -> u64 {
        self.uptime_ms.saturating_add(monotonic_ms)
    }
}

fn parse_uptime(text: &str) -> Option<u64> {
    let (seconds, rest) = text.split_once('.')?;
    let hundredths: u64 = rest.get(..2)?.parse().ok()?;
    Some(seconds.parse::<u64>().ok()?.checked_mul(1000)? + hundredths * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_in_utc() {
        assert_eq!(utc_text(0), "1970-01-01 00:00:00");
        assert_eq!(utc_text(951_782_400_000), "2000-02-29 00:00:00");
        assert_eq!(utc_text(1_735_689_599_999), "2024-12-31 23:59:59");
    }

    #[test]
    fn uptime_is_read_in_milliseconds() {
        assert_eq!(parse_uptime("12345.67 98765.43\n"), Some(12_345_670));
        for bad in ["", "12345", "x.12", "1.x2"] {
            assert_eq!(parse_uptime(bad), None, "{bad:?}");
        }
    }
}
