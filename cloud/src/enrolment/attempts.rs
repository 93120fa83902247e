//! Failed requests about enrolment, by address: an address where many fail has to wait.

use std::num::NonZeroU32;

use iottly_core::rate::RateLimit;

use crate::edge::AddressKey;

/// Maximum number of failures of an address per minute.
const FAILURES: NonZeroU32 = NonZeroU32::new(30).expect("30 is not zero");

/// Failures of addresses.
pub(super) struct Attempts(RateLimit<AddressKey>);

impl Default for Attempts {
    fn default() -> Self {
        Self(RateLimit::per_minute(FAILURES))
    }
}

impl Attempts {
    /// Returns the seconds to wait if too many requests of the address have failed.
    pub(super) fn admit(&self, address: AddressKey, now_ms: i64) -> Result<(), u32> {
        let verdict = self.0.look(address, now_ms);
        if verdict.allowed {
            Ok(())
        } else {
            Err(verdict.wait)
        }
    }

    /// Counts a failure.
    pub(super) fn failed(&self, address: AddressKey, now_ms: i64) {
        self.0.ask(address, now_ms);
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
}
