//! Admission of developer orders: pure rules on a verified order and the device's facts. Verifies no signature
//! and keeps nothing; the device stores the counter of an order before it follows it.

use serde::{Deserialize, Serialize};

use super::order::{DeveloperOrder, LeaseId, OrderAction};
use crate::release::{Reason, Refusal};
use crate::tuf::Instant;
use crate::{DeviceId, ProjectId};

/// Facts about a device on which its decision about a developer order depends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeveloperFacts {
    /// Id of the device.
    pub device: DeviceId,
    /// Project of the device.
    pub project: ProjectId,
    /// False if the device's owner has switched developer leases off.
    pub allowed: bool,
    /// Highest counter of an order that the device has followed; 0 for none.
    pub counter: u64,
    /// Lease that the device is under; none when it runs its release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseId>,
    /// Capabilities of the committed release; without one, those that releases may use without approval.
    pub capabilities: Vec<String>,
    /// Names of what the device's script engines offer, for example `script 1`.
    pub engines: Vec<String>,
    /// sha256 of the device's script engines, lower-case hex.
    #[serde(default)]
    pub exact: Vec<String>,
    /// True once the device knows the time.
    pub clock_trusted: bool,
}

/// Properties of the script that came with an order, read from its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferedScript {
    /// sha256 of the bytes, lower-case hex.
    pub sha256: String,
    /// Number of the bytes.
    pub size: u64,
    /// Name of what the script relies on, for example `script 1`.
    pub engine: String,
    /// sha256 of the only engine that may run the script, lower-case hex; none if any of that name may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// Capabilities that its manifest asks for.
    pub capabilities: Vec<String>,
}

fn refusal(reason: Reason, detail: impl Into<String>) -> Refusal {
    Refusal {
        reason,
        detail: detail.into(),
    }
}

/// Checks that an order applies to this device at this time. [`admit_script`] follows for
/// [`OrderAction::Run`].
///
/// # Errors
/// The order is for another device, breaks a bound, is not valid at this time, or was followed before; or the
/// device's owner allows none.
pub fn admit_order(order: &DeveloperOrder, facts: &DeveloperFacts, now: Instant) -> Result<(), Refusal> {
    order
        .check()
        .map_err(|detail| refusal(Reason::NotLeased, detail))?;
    if order.project != facts.project {
        return Err(refusal(Reason::NotLeased, "the order is for another project"));
    }
    if !order.devices.contains(&facts.device) {
        return Err(refusal(Reason::NotLeased, "the order does not name this device"));
    }
    if order.counter <= facts.counter {
        let detail = format!("counter {} is not above {}", order.counter, facts.counter);
        return Err(refusal(Reason::Replay, detail));
    }
    match order.action {
        // An owner who has switched leases off is never kept in one.
        OrderAction::End if facts.lease != Some(order.lease) => {
            return Err(refusal(Reason::NotLeased, "the device is not under this lease"));
        }
        OrderAction::End => {}
        OrderAction::Run if !facts.allowed => {
            return Err(refusal(
                Reason::DeveloperOff,
                "developer leases are switched off in the device's configuration",
            ));
        }
        OrderAction::Run => {}
    }
    if !facts.clock_trusted {
        return Err(refusal(Reason::Clock, "the device does not know the time yet"));
    }
    if now >= order.expires {
        return Err(refusal(
            Reason::Expired,
            format!("the order expired at {}", order.expires),
        ));
    }
    if now < order.not_before {
        return Err(refusal(
            Reason::Expired,
            format!("the order begins at {}", order.not_before),
        ));
    }
    Ok(())
}

/// Checks that the device may and can run the script that came with an admitted order.
///
/// # Errors
/// The script is not the one that the order names, asks for more than the committed release has and the order
/// approves, or needs an engine that the device does not have.
pub fn admit_script(
    order: &DeveloperOrder,
    script: &OfferedScript,
    facts: &DeveloperFacts,
) -> Result<(), Refusal> {
    if order.action != OrderAction::Run {
        return Err(refusal(Reason::Invalid, "the order runs no script"));
    }
    if script.sha256 != order.sha256 || script.size != order.size {
        return Err(refusal(
            Reason::DigestMismatch,
            "the script is not the one that the order names",
        ));
    }
    let is_known = |name: &&String| !facts.capabilities.contains(name) && !order.approved.contains(name);
    if let Some(name) = script.capabilities.iter().find(is_known) {
        return Err(refusal(
            Reason::Incompatible,
            format!("capability: {name} is neither of the committed release nor approved"),
        ));
    }
    if !facts.engines.contains(&script.engine) {
        let detail = format!(
            "engine: {} is not one of {}",
            script.engine,
            facts.engines.join(", ")
        );
        return Err(refusal(Reason::NoEngine, detail));
    }
    if let Some(exact) = script.exact.as_ref().filter(|exact| !facts.exact.contains(exact)) {
        return Err(refusal(
            Reason::NoEngine,
            format!("engine: the device does not have the one with the sha256 {exact}"),
        ));
    }
    Ok(())
}
