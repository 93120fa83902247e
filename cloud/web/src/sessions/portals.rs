//! Limits on the use of portals: on guesses of their links, on requests with one, and on what is sent again with one.

use std::net::IpAddr;
use std::num::NonZeroU32;

use iottly_core::model::PortalId;
use iottly_core::rate::{RateLimit, Verdict};

use iottly_cloud::clock;
use iottly_cloud::edge::AddressKey;

/// Maximum number of links per minute that an address (a /64 of IPv6) opens or guesses.
const GUESSES: NonZeroU32 = NonZeroU32::new(20).expect("20 is not zero");
/// Maximum number of requests per minute with one link.
const REQUESTS: NonZeroU32 = NonZeroU32::new(120).expect("120 is not zero");
/// Maximum number of messages per minute that are sent again with one link.
const REPLAYS: NonZeroU32 = NonZeroU32::new(10).expect("10 is not zero");

/// Uses of portals in the last minute.
#[derive(Debug)]
pub(crate) struct PortalLimits {
    guesses: RateLimit<AddressKey>,
    requests: RateLimit<PortalId>,
    replays: RateLimit<PortalId>,
}

impl Default for PortalLimits {
    fn default() -> Self {
        Self {
            guesses: RateLimit::per_minute(GUESSES),
            requests: RateLimit::per_minute(REQUESTS),
            replays: RateLimit::per_minute(REPLAYS),
        }
    }
}

impl PortalLimits {
    /// Counts a link that an address tries, and returns the verdict on it.
    pub(crate) fn guess(&self, address: IpAddr) -> Verdict {
        self.guesses.ask(AddressKey::of(address), clock::steady_ms())
    }

    /// Counts a request with a link, and returns the verdict on it.
    pub(crate) fn request(&self, portal: PortalId) -> Verdict {
        self.requests.ask(portal, clock::steady_ms())
    }

    /// Counts a message that is sent again with a link, and returns the verdict on it.
    pub(crate) fn replay(&self, portal: PortalId) -> Verdict {
        self.replays.ask(portal, clock::steady_ms())
    }
}
