//! Memory that must survive a restart: the journal's content.

use iottly_protocol::release::{Ending, Refusal, Step};
use iottly_protocol::tuf::Vouched;
use serde::{Deserialize, Serialize};

use crate::offer::{Offer, Planned};
use crate::slot::{Running, Slot};

/// The release that the device runs when nothing is tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    /// Where it lies.
    pub slot: Slot,
    /// sha256, hex.
    pub sha256: String,
    /// Its number.
    pub release_seq: u64,
    /// The layout in which it writes its state.
    pub data_schema: u32,
}

/// An update under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The directive.
    pub offer: Offer,
    /// Where it is.
    pub state: Step,
    /// Why it waits or goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Refusal>,
    /// Unix seconds at which release 0.1 of the agent gives it up; not read any more.
    #[serde(default)]
    pub deadline: u64,
    /// Time for which it has been under way, waiting left out, milliseconds of the agent running.
    #[serde(default)]
    pub spent_ms: u64,
    /// Time for which it has waited for its window or for the time, milliseconds of the agent running.
    #[serde(default)]
    pub waited_ms: u64,
    /// Starts of the board within the trial.
    pub boots: u32,
    /// How often the journal was written for it.
    pub writes: u32,
    /// The slot that it fills.
    pub slot: Slot,
    /// The release, once its metadata is verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Planned>,
}

impl Attempt {
    pub(crate) fn new(offer: Offer, slot: Slot, unix: u64) -> Self {
        let deadline = unix.saturating_add(offer.deadline_s);
        Self {
            offer,
            state: Step::Offered,
            why: None,
            deadline,
            spent_ms: 0,
            waited_ms: 0,
            boots: 0,
            writes: 0,
            slot,
            release: None,
        }
    }
}

/// How the last update ended; kept until the cloud has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The directive's id.
    pub id: String,
    /// The release's sha256, hex.
    pub sha256: String,
    /// How it ended.
    pub ending: Ending,
    /// Why, unless it is committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Refusal>,
}

/// Most digests that are remembered as rolled back.
pub const MAX_QUARANTINED: usize = 8;

/// All that must survive: what the journal holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The highest directive counter that was accepted.
    pub counter: u64,
    /// No release below this number is taken.
    pub floor: u64,
    /// The floor that release 0.1 of the agent reads, unix seconds. It raised it by its system's clock, so
    /// that it says nothing here: see `vouched`.
    #[serde(default)]
    pub clock_floor: u64,
    /// Versions and date that accepted metadata vouches for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vouched: Option<Vouched>,
    /// The committed release; none while the firmware is the factory's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed: Option<Committed>,
    /// Digests that were rolled back, the latest last.
    #[serde(default)]
    pub quarantined: Vec<String>,
    /// The update under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// How the last one ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Outcome>,
}

impl Memory {
    /// What runs when nothing is tried.
    #[must_use]
    pub fn home(&self) -> Running {
        self.committed
            .as_ref()
            .map_or(Running::Factory, |committed| Running::Slot(committed.slot))
    }

    /// The digest of what was verified in a slot, as far as it may run.
    #[must_use]
    pub fn digest_of(&self, slot: Slot) -> Option<String> {
        let tried = self
            .attempt
            .as_ref()
            .filter(|attempt| attempt.slot == slot && !attempt.state.is_cancellable());
        let committed = self.committed.as_ref().filter(|committed| committed.slot == slot);
        tried
            .map(|attempt| attempt.offer.sha256.clone())
            .or_else(|| committed.map(|committed| committed.sha256.clone()))
    }

    /// The slot that an update may fill.
    #[must_use]
    pub fn free_slot(&self) -> Slot {
        self.committed
            .as_ref()
            .map_or(Slot::A, |committed| committed.slot.other())
    }
}
