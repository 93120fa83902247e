//! Inputs and outputs of the machine of developer orders. Pure data.

use iottly_protocol::release::{DeveloperOrder, LeaseId, OfferedScript, Refusal};
use iottly_protocol::tuf::Instant;
use iottly_protocol::{DeviceId, ProjectId};

use super::memory::Memory;

/// Facts about the device that do not depend on earlier orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Site {
    pub(crate) device: DeviceId,
    pub(crate) project: ProjectId,
    /// False if the device's owner has switched developer leases off.
    pub(crate) allowed: bool,
    /// Capabilities that the committed release's manifest names; without one, those that releases may use without
    /// approval.
    pub(crate) capabilities: Vec<String>,
    /// Names of what the script engines offer.
    pub(crate) engines: Vec<String>,
    /// sha256 of the script engines.
    pub(crate) exact: Vec<String>,
    pub(crate) clock_trusted: bool,
    /// A release is on trial or about to be.
    pub(crate) on_trial: bool,
}

/// Order whose signature was verified, with what came with it.
#[derive(Debug, Clone)]
pub(crate) struct Verified {
    pub(crate) order: DeveloperOrder,
    /// Script of the order, read from its bytes, and the bytes; a refusal if they hold none.
    pub(crate) script: Result<(OfferedScript, Vec<u8>), Refusal>,
    /// Date at the verification.
    pub(crate) date: Instant,
    /// Time at which the order was received, in milliseconds of the growing clock.
    pub(crate) received_ms: u64,
}

/// Input of the machine.
#[derive(Debug)]
pub(crate) enum Event {
    /// The agent has started.
    Boot,
    /// An order was verified.
    Ordered(Box<Verified>, Site),
    /// A document is no valid order. Id and lease are unverified claims.
    Refused {
        order: String,
        lease: Option<LeaseId>,
        why: Refusal,
    },
    /// The first call of the code of this attempt has returned.
    Started { attempt: u64 },
    /// The code of this attempt did not start; what ran before runs again.
    Failed { attempt: u64, detail: String },
    /// The update has started or stopped a firmware, which ended the developer's code.
    Released,
    /// Time has passed.
    Tick,
}

/// Output of the machine, to be performed in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Make the memory durable before anything that follows.
    Journal(Memory),
    /// Run this code in place of what runs.
    Swap { attempt: u64, component: Vec<u8> },
    /// Run the installed firmware again.
    GiveBack,
    /// Report to the cloud.
    Report(Said),
}

/// Content of a report about an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) order: String,
    pub(crate) lease: Option<LeaseId>,
    pub(crate) sha256: String,
    pub(crate) state: Outcome,
}

/// State of an order on this device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The code runs; its first call returned so many milliseconds after the order was received.
    Running { ms: u64 },
    /// The code did not start; what ran before runs again.
    Failed { detail: String },
    /// The order is not followed.
    Refused(Refusal),
    /// The installed firmware runs again, for this reason.
    Ended { detail: String },
}
