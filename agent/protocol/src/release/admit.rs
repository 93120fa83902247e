//! Admission of directives and releases: pure rules on signed data and the device's facts. Neither fetches
//! nor verifies signatures.

use serde::{Deserialize, Serialize};

use super::directive::{Action, Audience, Directive};
use super::engine::{EngineFact, EngineNeed};
use super::manifest::Release;
use super::reason::Reason;
use crate::limits::MAX_COMPONENT_BYTES;
use crate::tuf::Instant;
use crate::{DeviceId, GroupId, ProjectId};

/// Facts about a device on which its decision about a release depends. The cloud's preflight uses the facts
/// that the device reported last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceFacts {
    /// Id of the device.
    pub device: DeviceId,
    /// Project of the device.
    pub project: ProjectId,
    /// Group of the device, for directives to groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupId>,
    /// Board profile.
    pub board: String,
    /// Firmware interface that the device offers, `major.minor` or longer.
    pub abi: String,
    /// Version of the trusted root.
    pub root_version: u64,
    /// Highest directive counter that the device has accepted.
    pub counter: u64,
    /// Number of the committed release; 0 for none.
    pub running_seq: u64,
    /// sha256 of the committed release, hex; empty for none.
    pub running_sha256: String,
    /// Lowest release number that the device accepts.
    pub floor: u64,
    /// Free space for an update, in bytes.
    pub free: u64,
    /// Layout in which the firmware's state was written last; 0 for none.
    pub data_schema: u32,
    /// Capabilities that releases may use without approval, sorted.
    pub capabilities: Vec<String>,
    /// Digests that were rolled back lately, hex.
    #[serde(default)]
    pub quarantined: Vec<String>,
    /// True once the device knows the time.
    pub clock_trusted: bool,
    /// Script engines of the device, at most [`MAX_ENGINES`](crate::limits::MAX_ENGINES). Agents before scripts became
    /// data report none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub engines: Vec<EngineFact>,
}

/// Refusal of a release by a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Reason of the refusal.
    pub reason: Reason,
    /// Details for people.
    pub detail: String,
}

impl Refusal {
    fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
        }
    }
}

/// Checks that a directive applies to this device at this time, before the release is known.
///
/// # Errors
/// The directive is for another device, not valid at this time, or was followed before.
pub fn admit_directive(directive: &Directive, facts: &DeviceFacts, now: Instant) -> Result<(), Refusal> {
    if directive.project != facts.project {
        return Err(Refusal::new(
            Reason::Incompatible,
            "device: the directive is for another project",
        ));
    }
    match &directive.audience {
        Audience::Device(device) if *device != facts.device => {
            return Err(Refusal::new(
                Reason::Incompatible,
                format!("device: the directive is for device {device}"),
            ));
        }
        Audience::Group(group) if Some(*group) != facts.group => {
            return Err(Refusal::new(
                Reason::Incompatible,
                format!("device: the directive is for group {group}"),
            ));
        }
        Audience::Device(_) | Audience::Group(_) => {}
    }
    if directive.counter <= facts.counter {
        let detail = format!("counter {} is not above {}", directive.counter, facts.counter);
        return Err(Refusal::new(Reason::Replay, detail));
    }
    if now >= directive.expires {
        return Err(Refusal::new(
            Reason::Expired,
            format!("the directive expired at {}", directive.expires),
        ));
    }
    if now < directive.not_before {
        return Err(Refusal::new(
            Reason::Expired,
            format!("the directive begins at {}", directive.not_before),
        ));
    }
    Ok(())
}

/// Checks that the device can and may run a release that verified metadata describes. Device and cloud
/// preflight call this one function.
///
/// # Errors
/// The release is not the one that the directive names, or the device cannot or must not run it.
pub fn admit_release(directive: &Directive, release: &Release, facts: &DeviceFacts) -> Result<(), Refusal> {
    let manifest = &release.manifest;
    if !release.sha256.eq_ignore_ascii_case(&directive.sha256)
        || manifest.release_seq != directive.release_seq
    {
        return Err(Refusal::new(
            Reason::DigestMismatch,
            "the signed release is not the one that the directive names",
        ));
    }
    if manifest.component != directive.component {
        return Err(Refusal::new(
            Reason::Incompatible,
            "component: the release replaces another component",
        ));
    }
    if manifest.release_seq < facts.floor {
        let detail = format!(
            "release {} is under the floor {}",
            manifest.release_seq, facts.floor
        );
        return Err(Refusal::new(Reason::BelowFloor, detail));
    }
    if manifest.release_seq < facts.running_seq && directive.action != Action::Downgrade {
        let detail = format!(
            "release {} is older than {}, and the directive asks for no downgrade",
            manifest.release_seq, facts.running_seq
        );
        return Err(Refusal::new(Reason::Replay, detail));
    }
    if facts.quarantined.contains(&release.sha256) && !directive.force_retry {
        return Err(Refusal::new(
            Reason::Quarantined,
            "this release was rolled back here before",
        ));
    }
    if !manifest.boards.is_empty() && !manifest.boards.contains(&facts.board) {
        let detail = format!(
            "board: {} is not one of {}",
            facts.board,
            manifest.boards.join(", ")
        );
        return Err(Refusal::new(Reason::Incompatible, detail));
    }
    if !manifest.abi.contains(&facts.abi) {
        let detail = format!(
            "interface: {} is not in {} to {}",
            facts.abi, manifest.abi.min, manifest.abi.max
        );
        return Err(Refusal::new(Reason::Incompatible, detail));
    }
    let schema = manifest.data_schema;
    if !(schema.reads_min..=schema.reads_max).contains(&facts.data_schema) {
        let detail = format!(
            "data schema: {} is not in {} to {}",
            facts.data_schema, schema.reads_min, schema.reads_max
        );
        return Err(Refusal::new(Reason::Incompatible, detail));
    }
    let wider = manifest
        .capabilities
        .iter()
        .find(|name| !facts.capabilities.contains(name) && !directive.approved.contains(name));
    if let Some(name) = wider {
        return Err(Refusal::new(
            Reason::Incompatible,
            format!("capability: {name} is not approved"),
        ));
    }
    if release.size > MAX_COMPONENT_BYTES as u64 {
        let detail = format!(
            "the component has {} bytes, the limit is {MAX_COMPONENT_BYTES}",
            release.size
        );
        return Err(Refusal::new(Reason::TooLarge, detail));
    }
    let engine_bytes = match &manifest.engine {
        Some(need) => admit_engine(need, facts)?,
        None => 0,
    };
    let need = manifest
        .requires_free
        .max(release.size)
        .saturating_add(engine_bytes);
    if facts.free < need {
        return Err(Refusal::new(
            Reason::NoSpace,
            format!("{need} bytes are needed, {} are free", facts.free),
        ));
    }
    Ok(())
}

/// Checks that an engine of the device, or the one that the release offers, can run a script. Returns the number of
/// bytes that the device has to take for it.
fn admit_engine(need: &EngineNeed, facts: &DeviceFacts) -> Result<u64, Refusal> {
    if facts.engines.iter().any(|engine| need.fits(engine)) {
        return Ok(0);
    }
    if let Some(target) = need.to_take(&facts.engines) {
        return Ok(target.size);
    }
    let wanted = match &need.exact {
        Some(digest) => format!("{} with the digest {digest}", need.abi),
        None => need.abi.clone(),
    };
    let detail = if facts.engines.is_empty() {
        format!("engine: the script needs {wanted}, and the agent runs no scripts of this kind")
    } else {
        let names: Vec<_> = facts.engines.iter().map(|engine| engine.abi.as_str()).collect();
        format!(
            "engine: the script needs {wanted}, the device has {}",
            names.join(", ")
        )
    };
    Err(Refusal::new(Reason::Incompatible, detail))
}
