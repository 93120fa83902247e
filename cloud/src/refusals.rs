//! Book of the last refusals of devices that could not get in. The rules are in `iottly_core::refusals`.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use iottly_core::model::Scope;
use iottly_core::refusals::{Refusals, Refused, RefusedStep};
use iottly_protocol::DeviceId;

use crate::clock;
use crate::edge::AddressKey;
use crate::live::{LiveHub, Parts};

/// Last refusals of devices and of addresses.
#[derive(Debug, Default)]
pub struct RefusalBook {
    refusals: Mutex<Refusals<AddressKey>>,
    live: Arc<LiveHub>,
}

impl RefusalBook {
    pub(crate) fn new(live: Arc<LiveHub>) -> Self {
        Self {
            refusals: Mutex::default(),
            live,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Refusals<AddressKey>> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the refusal of a device that exists.
    pub fn device(&self, scope: Scope, from: IpAddr, step: RefusedStep, reason: &str) {
        let refused = Refused::new(clock::now(), from, step, reason);
        self.lock().of_device(scope, refused);
        self.live
            .changed(scope.project, Some(scope.device), Parts::DEVICE);
    }

    /// Notes the refusal of an address whose device is not known.
    pub fn address(&self, from: IpAddr, step: RefusedStep, reason: &str) {
        let refused = Refused::new(clock::now(), from, step, reason);
        self.lock().of_address(AddressKey::of(from), refused);
    }

    /// Forgets the refusal of a device that got in.
    pub fn admitted(&self, device: DeviceId) {
        self.lock().admitted(device);
    }

    /// Returns the last refusal of a device since it got in last.
    #[must_use]
    pub fn of(&self, scope: Scope) -> Option<Refused> {
        self.lock().device(scope, clock::now()).cloned()
    }

    /// Returns the last refusal of an unknown device near a person at `viewer`: from the same address, or with both
    /// inside of private networks. Others see nothing of it, because nothing says whose device it was.
    #[must_use]
    pub fn near(&self, viewer: IpAddr) -> Option<Refused> {
        let own = AddressKey::of(viewer);
        let inside = own.is_private();
        let book = self.lock();
        let near = book.address(
            |address| *address == own || (inside && address.is_private()),
            clock::now(),
        );
        near.cloned()
    }
}

#[cfg(test)]
mod tests {
    use iottly_protocol::ProjectId;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn refusals_of_unknown_devices_are_seen_nearby_only() {
        let book = RefusalBook::default();
        book.address(ip("203.0.113.7"), RefusedStep::Tls, "unknown authority");
        assert!(book.near(ip("203.0.113.7")).is_some());
        assert!(book.near(ip("::ffff:203.0.113.7")).is_some());
        assert!(book.near(ip("203.0.113.8")).is_none());
        assert!(book.near(ip("192.168.1.2")).is_none());
        book.address(ip("192.168.1.9"), RefusedStep::Enrolment, "unknown code");
        assert!(book.near(ip("192.168.1.2")).is_some());
        assert!(book.near(ip("127.0.0.1")).is_some());
        let mine = book.near(ip("203.0.113.7"));
        assert_eq!(mine.map(|refused| refused.step), Some(RefusedStep::Tls));
    }

    #[test]
    fn a_device_that_gets_in_has_no_refusal() {
        let book = RefusalBook::default();
        let scope = Scope {
            project: ProjectId::from_bytes([1; 12]),
            device: DeviceId::random(),
        };
        book.device(scope, ip("127.0.0.1"), RefusedStep::Login, "wrong secret");
        assert_eq!(
            book.of(scope).map(|refused| refused.reason),
            Some("wrong secret".to_owned())
        );
        assert!(
            book.near(ip("127.0.0.1")).is_none(),
            "known devices are shown with the device alone"
        );
        book.admitted(scope.device);
        assert!(book.of(scope).is_none());
    }
}
