//! Pace of logins from addresses with many failures.
//!
//! A secret has 256 bits, so guessing need not be slowed down; the database has to be protected from the
//! load. No device is refused for failures of others behind the same address: logins from such an address are
//! checked one after the other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use crate::edge::AddressKey;

/// Number of failures of an address without consequences: for wrong secrets, or a few deleted devices.
const FREE: u32 = 100;
/// Time after which an address's failures are forgotten.
const FORGET: Duration = Duration::from_secs(60);
/// Time for which a failure delays the next login of the same address.
const PAUSE: Duration = Duration::from_millis(20);
/// Maximum number of addresses that are remembered. Beyond it, expired ones are removed, then all.
const MAX_ADDRESSES: usize = 10_000;

/// Failed logins by address.
#[derive(Debug, Default)]
pub(super) struct Pace {
    addresses: Mutex<HashMap<AddressKey, Failures>>,
}

#[derive(Debug)]
struct Failures {
    count: u32,
    since: Instant,
    turn: Arc<Turn<()>>,
}

impl Pace {
    /// Resolves when it is this login's turn. The caller holds the returned guard while the secret is
    /// checked.
    pub(super) async fn turn(&self, address: AddressKey, now: Instant) -> Option<OwnedMutexGuard<()>> {
        let turn = self.queue(address, now)?;
        Some(turn.lock_owned().await)
    }

    /// Returns the queue in which logins of the address wait, if they have to.
    fn queue(&self, address: AddressKey, now: Instant) -> Option<Arc<Turn<()>>> {
        let addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = addresses.get(&address)?;
        let slow = failures.count > FREE && now.saturating_duration_since(failures.since) < FORGET;
        slow.then(|| Arc::clone(&failures.turn))
    }

    /// Counts a failed login.
    pub(super) fn failed(&self, address: AddressKey, now: Instant) {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |failures: &Failures| now.saturating_duration_since(failures.since) >= FORGET;
        if addresses.len() >= MAX_ADDRESSES && !addresses.contains_key(&address) {
            addresses.retain(|_, failures| !is_over(failures));
            if addresses.len() >= MAX_ADDRESSES {
                addresses.clear();
            }
        }
        let fresh = || Failures {
            count: 0,
            since: now,
            turn: Arc::default(),
        };
        let failures = addresses.entry(address).or_insert_with(fresh);
        if is_over(failures) {
            (failures.count, failures.since) = (0, now);
        }
        failures.count = failures.count.saturating_add(1);
    }

    /// Waits after a failed login that took a turn.
    pub(super) async fn pause(&self, turn: Option<OwnedMutexGuard<()>>) {
        if turn.is_some() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn address(n: u32) -> AddressKey {
        AddressKey::of(IpAddr::V4(Ipv4Addr::from_bits(n)))
    }

    #[test]
    fn an_address_where_many_fail_queues_and_is_forgiven() {
        let (pace, start) = (Pace::default(), Instant::now());
        for _ in 0..FREE {
            pace.failed(address(1), start);
        }
        assert!(pace.queue(address(1), start).is_none());
        pace.failed(address(1), start);
        assert!(pace.queue(address(1), start).is_some());
        assert!(
            pace.queue(address(2), start).is_none(),
            "others are not concerned"
        );
        assert!(pace.queue(address(1), start + FORGET).is_none());
        pace.failed(address(1), start + FORGET);
        assert!(pace.queue(address(1), start + FORGET).is_none());
    }

    #[test]
    fn the_table_is_bounded() {
        let (pace, start) = (Pace::default(), Instant::now());
        for n in 0..u32::try_from(MAX_ADDRESSES).expect("small") + 50 {
            pace.failed(address(n), start);
        }
        assert!(pace.addresses.lock().expect("unpoisoned").len() <= MAX_ADDRESSES);
    }
}
