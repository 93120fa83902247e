//! The machine's inputs and outputs: events, effects and reports. Pure data.

use iottly_protocol::release::{Reason, Refusal, UpdateState};
use iottly_protocol::tuf::Vouched;

use crate::memory::Memory;
use crate::offer::{Offer, Planned};
use crate::slot::{Running, Slot};

/// The time as the machine sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The board's date, unix seconds; may be wrong, and may step.
    pub unix: u64,
    /// Whether the cloud has told the date since the start of the system.
    pub clock_trusted: bool,
    /// Milliseconds that only grow, from any start.
    pub mono_ms: u64,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The agent starts; the pointer names this firmware.
    Boot {
        /// What the pointer names.
        pointer: Running,
    },
    /// A directive was accepted.
    Offer(Offer),
    /// Metadata is verified.
    MetaOk(Planned),
    /// The device does not take the release.
    Refused(Refusal),
    /// There is room.
    Room,
    /// A part is verified and kept; whether it was the last.
    PartKept {
        /// No part is missing.
        complete: bool,
    },
    /// A part could not be had.
    PartFailed {
        /// It is not what was signed.
        corrupt: bool,
        /// For people.
        detail: String,
    },
    /// The whole is verified, compiled and instantiated; the slot is on the disk.
    ImageOk,
    /// It is not.
    ImageBad(Refusal),
    /// The firmware's state is copied.
    Copied,
    /// The pointer names the slot.
    Switched,
    /// The firmware in trial trapped.
    Trapped(String),
    /// The firmware in trial says that it is well.
    Healthy,
    /// The firmware in trial breaks another health rule.
    Unhealthy(String),
    /// What a state does on leaving is done.
    Done,
    /// Time has passed.
    Tick,
    /// The cloud has the last outcome.
    Reported,
    /// The disk failed while the update was under way.
    DiskFailed(String),
    /// Metadata was accepted, and vouches for this.
    Vouched(Vouched),
    /// The file of a slot that is to run is not what was verified.
    SlotDamaged(Slot),
}

/// What is to be done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Make this durable before anything that follows.
    Journal(Box<Memory>),
    /// Say where the update is.
    Report(Progress),
    /// Fetch and check metadata for the directive.
    VerifyMeta(Box<Offer>),
    /// See whether there is room for so many bytes.
    CheckRoom(u64),
    /// Fetch the next missing part.
    FetchPart(Box<Planned>, Slot),
    /// Check the whole, compile and instantiate it.
    CheckImage(Box<Planned>, Slot),
    /// Stop the firmware and copy its state.
    CopyState,
    /// Let the pointer name a firmware.
    Point(Running),
    /// Start a firmware; whether it is on trial.
    Start {
        /// Which.
        firmware: Running,
        /// It is watched.
        trial: bool,
    },
    /// Stop the firmware.
    Stop,
    /// Put the copied state back.
    RestoreState,
    /// Remove the copied state and parts of downloads.
    CleanUp,
    /// Handle a tick at this time at the latest, in milliseconds of the growing clock.
    WakeAt(u64),
}

/// What a device says about an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The directive's id.
    pub id: String,
    /// The release's sha256, hex.
    pub sha256: String,
    /// Where it is, or how it ended.
    pub state: UpdateState,
    /// Why it waits, goes back or ended.
    pub why: Option<Refusal>,
}

pub(crate) fn refusal(reason: Reason, detail: impl Into<String>) -> Refusal {
    Refusal {
        reason,
        detail: detail.into(),
    }
}
