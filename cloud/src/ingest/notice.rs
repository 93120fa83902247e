//! Rate limit for the history entries about a device's protocol errors. Pure.

use std::collections::HashMap;
use std::time::Duration;

use iottly_protocol::DeviceId;
use tokio::time::Instant;

/// Minimum time between two entries about protocol errors of the same device.
const EVERY: Duration = Duration::from_secs(60);
/// Maximum number of devices whose errors are counted separately; above, a new device waits until an old
/// entry is due.
const DEVICES: usize = 10_000;

/// Decides which protocol errors are written to a device's history, and how many errors each entry stands
/// for.
#[derive(Debug, Default)]
pub(super) struct Notices {
    devices: HashMap<DeviceId, Seen>,
}

#[derive(Debug)]
struct Seen {
    written: Instant,
    since: u64,
}

impl Notices {
    /// Counts an error. Returns the number of errors that the entry to write now stands for; none if none is
    /// due.
    pub(super) fn report(&mut self, device: DeviceId, now: Instant) -> Option<u64> {
        if let Some(seen) = self.devices.get_mut(&device) {
            seen.since += 1;
            if seen.is_recent(now) {
                return None;
            }
            seen.written = now;
            return Some(std::mem::take(&mut seen.since));
        }
        if self.devices.len() >= DEVICES {
            self.devices.retain(|_, seen| seen.is_recent(now));
            if self.devices.len() >= DEVICES {
                return None;
            }
        }
        self.devices.insert(
            device,
            Seen {
                written: now,
                since: 0,
            },
        );
        Some(1)
    }
}

impl Seen {
    fn is_recent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.written) < EVERY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_errors_is_counted_not_written() {
        let (mut notices, start) = (Notices::default(), Instant::now());
        let device = DeviceId::from_bytes([1; 16]);
        assert_eq!(notices.report(device, start), Some(1));
        for n in 0..500 {
            assert_eq!(notices.report(device, start + Duration::from_millis(n)), None);
        }
        assert_eq!(notices.report(device, start + EVERY), Some(501));
    }

    #[test]
    fn the_table_is_bounded_and_renews_itself() {
        let (mut notices, start) = (Notices::default(), Instant::now());
        let device = |n: usize| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&(n as u64).to_le_bytes());
            DeviceId::from_bytes(bytes)
        };
        for n in 0..DEVICES {
            assert_eq!(notices.report(device(n), start), Some(1));
        }
        assert_eq!(notices.report(device(DEVICES), start), None);
        assert_eq!(notices.report(device(DEVICES), start + EVERY), Some(1));
        assert_eq!(notices.devices.len(), 1);
    }
}
