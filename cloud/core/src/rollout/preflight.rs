//! Preflight of a release: which devices would accept it. Sends nothing.

use iottly_protocol::release::{DeviceFacts, Directive, Refusal, Release, admit_directive, admit_release};
use iottly_protocol::tuf::Instant;
use iottly_protocol::{DeviceId, ProjectId};

use crate::model::KnownFacts;

/// Devices that would accept a release, judged by their reported facts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preflight {
    /// Devices that would accept it.
    pub ready: Vec<DeviceId>,
    /// Devices that would refuse it, with the reason.
    pub refusals: Vec<(DeviceId, Refusal)>,
    /// Devices that have not reported any facts yet.
    pub unknown: Vec<DeviceId>,
}

/// Runs the devices' own verifier on the facts that each device has reported, before anything is sent.
///
/// `directive` makes the directive for a device with a sufficiently high counter.
#[must_use]
pub fn preflight(
    project: ProjectId,
    release: &Release,
    devices: &[KnownFacts],
    now: Instant,
    directive: impl Fn(DeviceId, u64) -> Directive,
) -> Preflight {
    let mut found = Preflight::default();
    for known in devices {
        let Some(facts) = &known.facts else {
            found.unknown.push(known.device);
            continue;
        };
        // Device and project are known to the cloud; reports about them are not trusted.
        let facts = DeviceFacts {
            device: known.device,
            project,
            ..facts.clone()
        };
        let directive = directive(known.device, facts.counter.saturating_add(1));
        let verdict = admit_directive(&directive, &facts, now)
            .and_then(|()| admit_release(&directive, release, &facts));
        match verdict {
            Ok(()) => found.ready.push(known.device),
            Err(refusal) => found.refusals.push((known.device, refusal)),
        }
    }
    found
}
