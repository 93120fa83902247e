use iottly_protocol::release::{DeviceFacts, Directive, Refusal, Release, admit_directive, admit_release};
use iottly_protocol::tuf::Instant;
use iottly_protocol::{DeviceId, ProjectId};

use crate::model::KnownFacts;

/// Who would take a release, by what the devices have said of themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preflight {
    /// Devices that would take it.
    pub ready: Vec<DeviceId>,
    /// Devices that would refuse it, and why.
    pub refusals: Vec<(DeviceId, Refusal)>,
    /// Devices that have said nothing of themselves yet.
    pub unknown: Vec<DeviceId>,
}

/// Asks the devices' own verifier, with what each device has reported, before anything is sent.
///
/// `directive` makes the directive for a device with a counter that is high enough.
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
        // Who it is and whose it is the cloud knows better than any report.
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
