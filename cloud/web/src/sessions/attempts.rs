//! Limits on attempts to log in by name: of an address, and of an address for one name. A name alone has no limit, because
//! any client could lock its owner out.

use std::net::IpAddr;
use std::num::NonZeroU32;

use iottly_core::model::{SecretHash, UserName};
use iottly_core::rate::{RateLimit, Verdict};

use iottly_cloud::clock;
use iottly_cloud::edge::AddressKey;

/// Maximum number of attempts per minute of an address (a /64 of IPv6): fewer than computations of passwords may wait.
const OF_ADDRESS: NonZeroU32 = NonZeroU32::new(20).expect("20 is not zero");
/// Maximum number of attempts per minute of an address for one name.
const OF_NAME: NonZeroU32 = NonZeroU32::new(10).expect("10 is not zero");

/// Attempts to log in, in the last minute.
#[derive(Debug)]
pub(crate) struct LoginAttempts {
    addresses: RateLimit<AddressKey>,
    /// By the hash of the name, so that long names need no memory.
    names: RateLimit<(AddressKey, [u8; 32])>,
}

impl Default for LoginAttempts {
    fn default() -> Self {
        Self {
            addresses: RateLimit::per_minute(OF_ADDRESS),
            names: RateLimit::per_minute(OF_NAME),
        }
    }
}

impl LoginAttempts {
    /// Counts an attempt with an identity provider, and returns the verdict on it.
    pub(crate) fn ask_address(&self, address: IpAddr) -> Verdict {
        self.addresses.ask(AddressKey::of(address), clock::steady_ms())
    }

    /// Counts an attempt, and returns the verdict on it.
    pub(crate) fn ask(&self, address: IpAddr, name: &UserName) -> Verdict {
        let now = clock::steady_ms();
        let address = AddressKey::of(address);
        let verdict = self.addresses.ask(address, now);
        if !verdict.allowed {
            return verdict;
        }
        self.names
            .ask((address, SecretHash::of(name.as_str().as_bytes()).0), now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_guess_and_locks_no_one_else_out() {
        let attempts = LoginAttempts::default();
        let (here, there) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let ada: UserName = "ada".parse().expect("a name");
        let allowed = (0..20).filter(|_| attempts.ask(here, &ada).allowed).count();
        assert_eq!(allowed, 10);
        assert!(
            attempts.ask(there, &ada).allowed,
            "another address is not concerned"
        );
        let others = (0..200).map(|n| format!("user{n}").parse::<UserName>().expect("a name"));
        let allowed = others.filter(|name| attempts.ask(here, name).allowed).count();
        assert!(allowed <= 10, "{allowed}");
    }
}
