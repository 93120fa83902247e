use std::collections::HashMap;

use iottly_protocol::DeviceId;

use crate::model::UnixMs;

/// A device's protocol errors are written at most this often, milliseconds.
const EVERY_MS: UnixMs = 60_000;
/// Devices whose errors are counted apart; beyond, new ones wait until an old entry is due.
const DEVICES: usize = 10_000;

/// Decides which protocol errors are written to a device's history, and how many each stands for.
#[derive(Debug, Default)]
pub(super) struct Notices {
    devices: HashMap<DeviceId, Seen>,
}

#[derive(Debug)]
struct Seen {
    written: UnixMs,
    since: u64,
}

impl Notices {
    /// Counts an error; returns how many errors the entry to write now stands for.
    pub(super) fn report(&mut self, device: DeviceId, now: UnixMs) -> Option<u64> {
        if let Some(seen) = self.devices.get_mut(&device) {
            seen.since += 1;
            if (0..EVERY_MS).contains(&(now - seen.written)) {
                return None;
            }
            seen.written = now;
            return Some(std::mem::take(&mut seen.since));
        }
        if self.devices.len() >= DEVICES {
            self.devices.retain(|_, seen| (0..EVERY_MS).contains(&(now - seen.written)));
            if self.devices.len() >= DEVICES {
                return None;
            }
        }
        self.devices.insert(device, Seen { written: now, since: 0 });
        Some(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_errors_is_counted_not_written() {
        let mut notices = Notices::default();
        let device = DeviceId::from_bytes([1; 16]);
        assert_eq!(notices.report(device, 1_000), Some(1));
        for n in 0..500 {
            assert_eq!(notices.report(device, 1_001 + n), None);
        }
        assert_eq!(notices.report(device, 1_000 + EVERY_MS), Some(501));
    }

    #[test]
    fn the_table_is_bounded_and_renews_itself() {
        let mut notices = Notices::default();
        let device = |n: usize| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&(n as u64).to_le_bytes());
            DeviceId::from_bytes(bytes)
        };
        for n in 0..DEVICES {
            assert_eq!(notices.report(device(n), 0), Some(1));
        }
        assert_eq!(notices.report(device(DEVICES), 1), None);
        assert_eq!(notices.report(device(DEVICES), EVERY_MS), Some(1));
        assert_eq!(notices.devices.len(), 1);
    }
}
