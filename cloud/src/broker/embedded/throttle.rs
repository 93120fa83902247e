use std::collections::HashMap;
use std::net::IpAddr;

use iottly_protocol::DeviceId;

use crate::model::UnixMs;

/// Failures that cost nothing: a mistyped secret.
const FREE: u32 = 3;
/// First delay and longest delay, milliseconds; each failure doubles it.
const DELAY: (UnixMs, UnixMs) = (1_000, 60_000);
/// Pairs that are remembered; beyond, the ones whose delay has passed are forgotten first.
const PAIRS: usize = 10_000;

/// Slows down guessing. Counted per address and device together: nobody can lock a device out from a foreign address, and one
/// bad device does not lock out its neighbours behind the same address.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    pairs: HashMap<(IpAddr, DeviceId), Failures>,
}

#[derive(Debug)]
struct Failures {
    count: u32,
    until: UnixMs,
}

impl Throttle {
    /// Says whether a login may be tried now.
    pub(super) fn may_try(&self, key: (IpAddr, DeviceId), now: UnixMs) -> bool {
        self.pairs.get(&key).is_none_or(|failures| now >= failures.until || failures.until - now > DELAY.1)
    }

    /// Forgets the failures of a pair that logged in.
    pub(super) fn succeeded(&mut self, key: (IpAddr, DeviceId)) {
        self.pairs.remove(&key);
    }

    /// Counts a failure.
    pub(super) fn failed(&mut self, key: (IpAddr, DeviceId), now: UnixMs) {
        if self.pairs.len() >= PAIRS && !self.pairs.contains_key(&key) {
            self.pairs.retain(|_, failures| failures.until > now);
            if self.pairs.len() >= PAIRS {
                self.pairs.clear();
            }
        }
        let failures = self.pairs.entry(key).or_insert(Failures { count: 0, until: now });
        failures.count = failures.count.saturating_add(1);
        if failures.count > FREE {
            let doublings = (failures.count - FREE - 1).min(16);
            failures.until = now + (DELAY.0 << doublings).min(DELAY.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn key(address: u8, device: u8) -> (IpAddr, DeviceId) {
        (Ipv4Addr::new(10, 0, 0, address).into(), DeviceId::from_bytes([device; 16]))
    }

    #[test]
    fn delays_grow_for_the_pair_alone() {
        let mut throttle = Throttle::default();
        for _ in 0..FREE {
            throttle.failed(key(1, 1), 0);
            assert!(throttle.may_try(key(1, 1), 0));
        }
        throttle.failed(key(1, 1), 0);
        assert!(!throttle.may_try(key(1, 1), 999));
        assert!(throttle.may_try(key(1, 1), 1_000));
        throttle.failed(key(1, 1), 1_000);
        assert!(!throttle.may_try(key(1, 1), 2_999));
        assert!(throttle.may_try(key(2, 1), 1_000), "the device from elsewhere");
        assert!(throttle.may_try(key(1, 2), 1_000), "its neighbour");
        for _ in 0..40 {
            throttle.failed(key(1, 1), 5_000);
        }
        assert!(throttle.may_try(key(1, 1), 65_000), "never longer than a minute");
        throttle.succeeded(key(1, 1));
        assert!(throttle.may_try(key(1, 1), 5_001));
    }

    #[test]
    fn the_table_is_bounded() {
        let mut throttle = Throttle::default();
        for n in 0..(PAIRS as u32 + 50) {
            throttle.failed((IpAddr::V4(n.into()), DeviceId::from_bytes([0; 16])), 0);
        }
        assert!(throttle.pairs.len() <= PAIRS);
    }

    #[test]
    fn a_clock_that_steps_back_locks_nobody_out() {
        let mut throttle = Throttle::default();
        for _ in 0..=FREE {
            throttle.failed(key(1, 1), 10_000_000);
        }
        assert!(throttle.may_try(key(1, 1), 0));
    }
}
