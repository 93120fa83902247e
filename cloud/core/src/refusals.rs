//! Last refusals of devices that could not get in: by device where one is known, else by address. In memory and bounded:
//! what a stranger sends replaces older refusals of strangers, and never those of devices.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use iottly_protocol::limits::clip;
use iottly_protocol::{DeviceId, ProjectId};

use crate::model::{Scope, UnixMs};

/// Maximum number of devices with a refusal.
pub const MAX_REFUSED_DEVICES: usize = 10_000;
/// Maximum number of devices with a refusal of a project.
pub const MAX_REFUSED_OF_PROJECT: usize = 1_000;
/// Maximum number of addresses with a refusal.
pub const MAX_REFUSED_ADDRESSES: usize = 256;
/// Time for which the refusal of a device is kept, in milliseconds: a day.
pub const DEVICE_KEPT_MS: UnixMs = 24 * 60 * 60 * 1000;
/// Time for which the refusal of an address is kept, in milliseconds: ten minutes.
pub const ADDRESS_KEPT_MS: UnixMs = 10 * 60 * 1000;
/// Maximum length of a reason, in bytes.
const MAX_REASON: usize = 300;

/// Step at which a device was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedStep {
    /// TLS handshake.
    Tls,
    /// Enrolment.
    Enrolment,
    /// Renewal of the secret.
    Renewal,
    /// Login at the broker.
    Login,
}

impl RefusedStep {
    /// Returns the word in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Enrolment => "enrolment",
            Self::Renewal => "renewal",
            Self::Login => "login",
        }
    }
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Time of the refusal.
    pub at: UnixMs,
    /// Address that the device came from.
    pub from: IpAddr,
    /// Step at which it was refused.
    pub step: RefusedStep,
    /// Reason, for people.
    pub reason: String,
}

impl Refused {
    /// Creates a refusal; a long reason is cut.
    #[must_use]
    pub fn new(at: UnixMs, from: IpAddr, step: RefusedStep, reason: &str) -> Self {
        Self {
            at,
            from: from.to_canonical(),
            step,
            reason: clip(reason, MAX_REASON).to_owned(),
        }
    }
}

/// Last refusals; `A` is what counts as one address.
#[derive(Debug)]
pub struct Refusals<A> {
    devices: HashMap<DeviceId, (ProjectId, Refused)>,
    addresses: HashMap<A, Refused>,
}

impl<A> Default for Refusals<A> {
    fn default() -> Self {
        Self {
            devices: HashMap::new(),
            addresses: HashMap::new(),
        }
    }
}

impl<A: Hash + Eq + Copy> Refusals<A> {
    /// Notes the refusal of a device that exists. Where its project has its maximum, or all projects together, the oldest
    /// refusal goes.
    pub fn of_device(&mut self, scope: Scope, refused: Refused) {
        if !self.devices.contains_key(&scope.device) {
            let own = self
                .devices
                .values()
                .filter(|(project, _)| *project == scope.project);
            let project = (own.count() >= MAX_REFUSED_OF_PROJECT).then_some(scope.project);
            if project.is_some() || self.devices.len() >= MAX_REFUSED_DEVICES {
                let concerned = self
                    .devices
                    .iter()
                    .filter(|(_, (of, _))| project.is_none_or(|project| *of == project));
                let oldest = concerned
                    .min_by_key(|(_, (_, refused))| refused.at)
                    .map(|(device, _)| *device);
                oldest.map(|device| self.devices.remove(&device));
            }
        }
        self.devices.insert(scope.device, (scope.project, refused));
    }

    /// Notes the refusal of an address whose device is not known. Where there are too many, the oldest refusal of an
    /// address goes.
    pub fn of_address(&mut self, address: A, refused: Refused) {
        if !self.addresses.contains_key(&address) && self.addresses.len() >= MAX_REFUSED_ADDRESSES {
            let oldest = self.addresses.iter().min_by_key(|(_, refused)| refused.at);
            let oldest = oldest.map(|(address, _)| *address);
            oldest.map(|address| self.addresses.remove(&address));
        }
        self.addresses.insert(address, refused);
    }

    /// Forgets the refusal of a device that got in.
    pub fn admitted(&mut self, device: DeviceId) {
        self.devices.remove(&device);
    }

    /// Returns the last refusal of a device since it got in last.
    #[must_use]
    pub fn device(&self, scope: Scope, now: UnixMs) -> Option<&Refused> {
        let (project, refused) = self.devices.get(&scope.device)?;
        let is_recent = now.saturating_sub(refused.at) < DEVICE_KEPT_MS;
        (*project == scope.project && is_recent).then_some(refused)
    }

    /// Returns the last refusal of the addresses that are wanted.
    pub fn address(&self, wanted: impl Fn(&A) -> bool, now: UnixMs) -> Option<&Refused> {
        let known = self.addresses.iter().filter(|(address, _)| wanted(address));
        known
            .map(|(_, refused)| refused)
            .filter(|refused| now.saturating_sub(refused.at) < ADDRESS_KEPT_MS)
            .max_by_key(|refused| refused.at)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn refused(at: UnixMs) -> Refused {
        let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Refused::new(at, from, RefusedStep::Login, "wrong secret")
    }

    fn scope(project: u8) -> Scope {
        Scope {
            project: ProjectId::from_bytes([project; 12]),
            device: DeviceId::random(),
        }
    }

    #[test]
    fn a_device_has_its_last_refusal_until_it_gets_in() {
        let (mut refusals, mine) = (Refusals::<u32>::default(), scope(1));
        refusals.of_device(mine, refused(1));
        refusals.of_device(mine, refused(2));
        assert_eq!(refusals.device(mine, 3), Some(&refused(2)));
        let elsewhere = Scope {
            project: scope(2).project,
            ..mine
        };
        assert_eq!(refusals.device(elsewhere, 3), None, "another project's device");
        assert_eq!(refusals.device(mine, 2 + DEVICE_KEPT_MS), None);
        refusals.admitted(mine.device);
        assert_eq!(refusals.device(mine, 3), None);
    }

    #[test]
    fn strangers_and_other_projects_push_out_no_device() {
        let (mut refusals, mine) = (Refusals::<u32>::default(), scope(1));
        refusals.of_device(mine, refused(0));
        for number in 0..2_000u32 {
            refusals.of_address(number, refused(number.into()));
            refusals.of_device(scope(2), refused(number.into()));
        }
        assert_eq!(refusals.addresses.len(), MAX_REFUSED_ADDRESSES);
        assert_eq!(refusals.devices.len(), 1 + MAX_REFUSED_OF_PROJECT);
        assert_eq!(refusals.device(mine, 3), Some(&refused(0)));
        assert!(refusals.address(|number| *number == 0, 2_000).is_none());
        let newest = refusals.address(|_| true, 2_000);
        assert_eq!(newest.map(|refused| refused.at), Some(1_999));
        assert!(refusals.address(|_| true, 1_999 + ADDRESS_KEPT_MS).is_none());
    }

    #[test]
    fn all_projects_together_have_a_bound() {
        let mut refusals = Refusals::<u32>::default();
        for number in 0..12_000u32 {
            let project = u8::try_from(number / 900).expect("below 256");
            refusals.of_device(scope(project), refused(number.into()));
        }
        assert_eq!(refusals.devices.len(), MAX_REFUSED_DEVICES);
    }

    #[test]
    fn long_reasons_are_cut() {
        let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let long = Refused::new(1, from, RefusedStep::Tls, &"ä".repeat(1_000));
        assert!(long.reason.len() <= MAX_REASON);
    }
}
