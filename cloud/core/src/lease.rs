//! Developer leases: which are opened, and the orders of a lease. Pure; signing, storing and sending are elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use iottly_protocol::release::{DeveloperOrder, LeaseId, MAX_LEASE_DEVICES, MAX_LEASE_S, OrderAction};
use iottly_protocol::tuf::Instant;
use iottly_protocol::{DeviceId, ProjectId};

use crate::model::{Lease, NewLease, UnixMs};
use crate::rollout::seconds;

/// Time by which an order is valid before it is signed, in seconds: a device's clock may be behind.
const MARGIN_S: u64 = 60;
/// Maximum number of hours of a lease.
pub const MAX_HOURS: u32 = 8;

/// Returns the lease that a request asks for.
///
/// # Errors
/// Names the first bound that the request breaks.
pub fn open(
    id: LeaseId,
    devices: Vec<DeviceId>,
    hours: u32,
    mut approved: Vec<String>,
    now: UnixMs,
) -> Result<NewLease, String> {
    if devices.is_empty() || devices.len() > MAX_LEASE_DEVICES {
        return Err(format!(
            "a developer lease has 1 to {MAX_LEASE_DEVICES} devices, not {}",
            devices.len()
        ));
    }
    if devices.iter().collect::<BTreeSet<_>>().len() != devices.len() {
        return Err("a device is named twice".to_owned());
    }
    if !(1..=MAX_HOURS).contains(&hours) {
        return Err(format!(
            "a developer lease lasts 1 to {MAX_HOURS} hours, not {hours}"
        ));
    }
    approved.sort();
    approved.dedup();
    let lease = NewLease {
        id,
        devices,
        approved,
        expires: now.saturating_add(i64::from(hours) * 3_600_000),
    };
    // The rest is what devices check.
    let probe = order(ProjectId::from_bytes([0; 12]), &probe(&lease, now), None, 1, now);
    probe.check().map(|()| lease)
}

fn probe(lease: &NewLease, now: UnixMs) -> Lease {
    let device = |device: &DeviceId| crate::model::LeaseDevice {
        device: *device,
        report: None,
    };
    Lease {
        id: lease.id,
        devices: lease.devices.iter().map(device).collect(),
        approved: lease.approved.clone(),
        author: String::new(),
        created: now,
        expires: lease.expires,
        ended: None,
        order: None,
    }
}

/// Returns an order of a lease: to run the script with this sha256 and size, or to end the lease.
#[must_use]
pub fn order(
    project: ProjectId,
    lease: &Lease,
    script: Option<(&str, u64)>,
    counter: u64,
    now: UnixMs,
) -> DeveloperOrder {
    let not_before = Instant::from_unix(seconds(now).saturating_sub(MARGIN_S));
    let expires = Instant::from_unix(seconds(lease.expires)).min(not_before.plus(MAX_LEASE_S));
    let (sha256, size) = script.unwrap_or_default();
    DeveloperOrder {
        id: format!("o-{counter}"),
        lease: lease.id,
        project,
        devices: lease.devices.iter().map(|device| device.device).collect(),
        action: if script.is_some() {
            OrderAction::Run
        } else {
            OrderAction::End
        },
        sha256: sha256.to_owned(),
        size,
        approved: lease.approved.clone(),
        not_before,
        expires,
        counter,
        extra: BTreeMap::new(),
    }
}

/// Returns the counter after `before`, which is above those that a cloud restored from a backup had given.
#[must_use]
pub fn counter(before: u64, now: UnixMs) -> u64 {
    u64::try_from(now).unwrap_or(0).max(before.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = 1_800_000_000_500;

    fn asked(devices: u8, hours: u32, approved: &[&str]) -> Result<NewLease, String> {
        let devices = (0..devices).map(|n| DeviceId::from_bytes([n; 16])).collect();
        let approved = approved.iter().map(|&name| name.to_owned()).collect();
        open(LeaseId::from_bytes([1; 16]), devices, hours, approved, NOW)
    }

    #[test]
    fn the_bounds_of_a_lease_are_those_of_its_orders() {
        for (devices, hours) in [(1, 1), (16, 8)] {
            let lease = asked(devices, hours, &["uart"]).expect("opened");
            for now in [NOW, NOW + 30_000, lease.expires - 1] {
                for script in [None, Some(("ab".repeat(32), 5))] {
                    let script = script.as_ref().map(|(sha256, size)| (sha256.as_str(), *size));
                    let order = order(
                        ProjectId::from_bytes([1; 12]),
                        &probe(&lease, NOW),
                        script,
                        7,
                        now,
                    );
                    order.check().expect("within the bounds");
                    assert!(order.not_before <= Instant::from_unix(seconds(now)));
                    assert!(order.expires <= Instant::from_unix(seconds(lease.expires)));
                }
            }
        }
        let long = "x".repeat(65);
        for (devices, hours, approved, reason) in [
            (0, 1, "", "1 to 16 devices, not 0"),
            (17, 1, "", "1 to 16 devices, not 17"),
            (1, 0, "", "1 to 8 hours, not 0"),
            (1, 9, "", "1 to 8 hours, not 9"),
            (1, 1, long.as_str(), "capabilities"),
        ] {
            let approved = if approved.is_empty() {
                &[][..]
            } else {
                &[approved][..]
            };
            let error = asked(devices, hours, approved).expect_err(reason);
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_counter_is_above_the_one_before_and_above_a_restored_one() {
        assert_eq!(counter(0, NOW), 1_800_000_000_500);
        assert_eq!(counter(1_900_000_000_000, NOW), 1_900_000_000_001);
    }
}
