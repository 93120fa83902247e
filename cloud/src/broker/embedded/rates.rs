//! Limits the rate of each device. A device over its rate waits before its next packet is read; nothing is
//! refused or lost.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use iottly_protocol::DeviceId;

/// Maximum rate of publishes of a device, per second. A backlog is sent in batches of many records, so it
/// needs far fewer.
const PER_SECOND: u32 = 2000;
/// Maximum rate of bytes of a device, per second. A backlog of small records at tens of thousands per second
/// needs a third of it.
const BYTES_PER_SECOND: u64 = 32 << 20;
/// Allowance that may be used at once, as the time in which it recovers.
const BURST: Duration = Duration::from_secs(2);
/// Maximum wait before a packet.
const MAX_WAIT: Duration = Duration::from_secs(5);
/// Maximum number of devices that are counted. Beyond it, those with their full allowance are removed, then
/// all.
const MAX_DEVICES: usize = 50_000;

/// Cost of a packet, in publishes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cost {
    /// Records, acknowledgements, logs.
    Message = 1,
    /// Presence, which is stored for each device and passed on to watchers.
    Status = 20,
    /// Login, which reads the database.
    Login = 50,
}

/// Devices, with the times up to which their allowance is used.
#[derive(Debug, Default)]
pub(super) struct Rates {
    used: Mutex<HashMap<DeviceId, Instant>>,
}

impl Rates {
    /// Counts a packet and returns the time for which its device has to wait.
    pub(super) fn charge(&self, device: DeviceId, cost: Cost, bytes: usize, now: Instant) -> Duration {
        let publishes = Duration::from_secs(cost as u64) / PER_SECOND;
        let nanos = u64::try_from(bytes)
            .unwrap_or(u64::MAX)
            .saturating_mul(1_000_000_000)
            / BYTES_PER_SECOND;
        let volume = Duration::from_nanos(nanos);
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() >= MAX_DEVICES && !used.contains_key(&device) {
            used.retain(|_, until| *until > now);
            if used.len() >= MAX_DEVICES {
                used.clear();
            }
        }
        let until = used.entry(device).or_insert(now);
        let ahead = until.saturating_duration_since(now) + publishes.max(volume);
        let wait = ahead.saturating_sub(BURST).min(MAX_WAIT);
        *until = now + ahead.min(BURST + MAX_WAIT);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(n: u32) -> DeviceId {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        DeviceId::from_bytes(bytes)
    }

    /// Returns the number of publishes in `seconds` of a device that sends as fast as it may.
    fn publishes(cost: Cost, bytes: usize, seconds: u64) -> u32 {
        let (rates, start) = (Rates::default(), Instant::now());
        let (mut now, mut sent) = (start, 0);
        while now < start + Duration::from_secs(seconds) {
            now += rates
                .charge(device(1), cost, bytes, now)
                .max(Duration::from_micros(10));
            sent += 1;
        }
        sent
    }

    #[test]
    fn floods_are_slowed_down() {
        assert!(
            (20_000..28_000).contains(&publishes(Cost::Message, 100, 10)),
            "{}",
            publishes(Cost::Message, 100, 10)
        );
        assert!((1000..1300).contains(&publishes(Cost::Status, 100, 10)));
        assert!((400..560).contains(&publishes(Cost::Login, 0, 10)));
        assert!((160..230).contains(&publishes(Cost::Message, 2 << 20, 10)));
    }

    #[test]
    fn a_backlog_in_batches_is_not() {
        // 50,000 records of 200 bytes per second, 100 in a batch.
        let (rates, start) = (Rates::default(), Instant::now());
        for n in 0..5000u32 {
            let now = start + Duration::from_millis(2) * n;
            assert!(rates.charge(device(1), Cost::Message, 20_000, now).is_zero());
        }
        assert!(
            rates.charge(device(2), Cost::Message, 100, start).is_zero(),
            "others are not concerned"
        );
    }

    #[test]
    fn the_table_is_bounded() {
        let (rates, start) = (Rates::default(), Instant::now());
        for n in 0..u32::try_from(MAX_DEVICES).expect("small") + 50 {
            rates.charge(device(n), Cost::Message, 1, start);
        }
        assert!(rates.used.lock().expect("unpoisoned").len() <= MAX_DEVICES);
    }
}
