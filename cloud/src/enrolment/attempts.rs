//! Failed requests about enrolment, by address: an address where many fail has to wait.

use std::num::NonZeroU32;

use iottly_core::rate::RateLimit;
use iottly_protocol::DeviceId;

use crate::edge::AddressKey;

/// Maximum number of failures of an address per minute.
const FAILURES: NonZeroU32 = NonZeroU32::new(30).expect("30 is not zero");

/// Maximum number of failed renewals per minute of a device at an address. Other devices of the address are not concerned:
/// boards that were deleted and go on asking must not lock their neighbours out.
const RENEWALS: NonZeroU32 = NonZeroU32::new(10).expect("10 is not zero");

/// Failures of addresses, and of devices at addresses.
pub(super) struct Attempts {
    enrolments: RateLimit<AddressKey>,
    renewals: RateLimit<(AddressKey, DeviceId)>,
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            enrolments: RateLimit::per_minute(FAILURES),
            renewals: RateLimit::per_minute(RENEWALS),
        }
    }
}

impl Attempts {
    /// Returns the seconds to wait if too many requests of the address have failed.
    pub(super) fn admit(&self, address: AddressKey, now_ms: i64) -> Result<(), u32> {
        let verdict = self.enrolments.look(address, now_ms);
        if verdict.allowed {
            Ok(())
        } else {
            Err(verdict.wait)
        }
    }

    /// Returns the seconds to wait if too many renewals of the device have failed at the address.
    pub(super) fn admit_device(&self, address: AddressKey, device: DeviceId, now_ms: i64) -> Result<(), u32> {
        let verdict = self.renewals.look((address, device), now_ms);
        if verdict.allowed {
            Ok(())
        } else {
            Err(verdict.wait)
        }
    }

    /// Counts a failed renewal.
    pub(super) fn device_failed(&self, address: AddressKey, device: DeviceId, now_ms: i64) {
        self.renewals.ask((address, device), now_ms);
    }

    /// Counts a failure.
    pub(super) fn failed(&self, address: AddressKey, now_ms: i64) {
        self.enrolments.ask(address, now_ms);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    #[test]
    fn an_address_where_many_fail_waits_and_others_do_not() {
        let (attempts, now) = (Attempts::default(), 1_000_000);
        let address = |n| AddressKey::of(IpAddr::V4(Ipv4Addr::from_bits(n)));
        for _ in 0..FAILURES.get() {
            assert_eq!(attempts.admit(address(1), now), Ok(()));
            attempts.failed(address(1), now);
        }
        assert!(attempts.admit(address(1), now).is_err_and(|wait| wait > 0));
        assert_eq!(attempts.admit(address(2), now), Ok(()));
        assert_eq!(attempts.admit(address(1), now + 60_000), Ok(()));
    }

    #[test]
    fn a_deleted_board_that_goes_on_asking_keeps_no_neighbour_from_its_renewal() {
        let (attempts, now) = (Attempts::default(), 1_000_000);
        let address = AddressKey::of(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let device = |n| DeviceId::from_bytes([n; 16]);
        for _ in 0..10 * RENEWALS.get() {
            attempts.device_failed(address, device(1), now);
        }
        assert!(
            attempts
                .admit_device(address, device(1), now)
                .is_err_and(|wait| wait > 0)
        );
        assert_eq!(attempts.admit_device(address, device(2), now), Ok(()));
    }
}
