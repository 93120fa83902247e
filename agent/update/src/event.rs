//! The machine's inputs and outputs: events, effects and reports. Pure data.

use iottly_protocol::release::{Reason, Refusal, UpdateState};
use iottly_protocol::tuf::Vouched;

use crate::engines::StoredEngine;
use crate::memory::Memory;
use crate::offer::{Offer, Planned};
use crate::slot::{Running, Slot, Start};

/// Clocks of the board at the moment of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Date of the board, in unix seconds; may be wrong, and may step.
    pub unix: u64,
    /// True once the cloud has sent the date since the start of the system.
    pub clock_trusted: bool,
    /// Milliseconds of a clock that only grows, from any start.
    pub mono_ms: u64,
}

/// Input of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The agent starts; the pointer names this firmware.
    Boot {
        /// Firmware that the pointer names.
        pointer: Running,
        /// sha256 of the engine that the committed script would run on, hex; none if it has code of its own.
        engine: Option<String>,
    },
    /// A directive was accepted.
    Offer(Offer),
    /// Metadata is verified.
    MetaOk(Planned),
    /// The device refuses the release.
    Refused(Refusal),
    /// There is enough free space.
    Room,
    /// A part is verified and stored.
    PartKept {
        /// True if no part is missing any more.
        complete: bool,
    },
    /// A part could not be fetched or verified.
    PartFailed {
        /// True if the part is not what was signed.
        corrupt: bool,
        /// Details for people.
        detail: String,
    },
    /// The whole file is verified, compiled and instantiated; the slot is on the disk. For a script, the sha256 of the
    /// engine that runs it, hex.
    ImageOk(Option<String>),
    /// The whole file failed a check.
    ImageBad(Refusal),
    /// The firmware's state is copied.
    Copied,
    /// The pointer names the slot.
    Switched,
    /// The firmware in trial trapped.
    Trapped(String),
    /// The firmware in trial reports that it is healthy.
    Healthy,
    /// The firmware in trial breaks another health rule.
    Unhealthy(String),
    /// The work of committing or rolling back is done.
    Done,
    /// Time has passed.
    Tick,
    /// The cloud has stored the last outcome.
    Reported,
    /// The disk failed while the update was under way.
    DiskFailed(String),
    /// Metadata was accepted, and vouches for these versions and this date.
    Vouched(Vouched),
    /// The file of a slot that is to run is not what was verified.
    SlotDamaged(Slot),
}

/// Output of the machine, to be performed in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Make the memory durable before anything that follows.
    Journal(Box<Memory>),
    /// Report the progress.
    Report(Progress),
    /// Fetch and verify metadata for the directive.
    VerifyMeta(Box<Offer>),
    /// Check that so many bytes are free.
    CheckRoom(u64),
    /// Fetch the next missing part.
    FetchPart(Box<Planned>, Slot),
    /// Verify the whole file, compile and instantiate it.
    CheckImage(Box<Planned>, Slot),
    /// Stop the firmware and copy its state.
    CopyState,
    /// Let the pointer name this firmware.
    Point(Running),
    /// Start a firmware.
    Start(Start),
    /// Stop the firmware.
    Stop,
    /// Restore the copied state.
    RestoreState,
    /// Remove the copied state and parts of downloads.
    CleanUp,
    /// Write a copy of an engine of the agent, unless it is there. Nothing depends on it but the way back from a later
    /// agent's engine.
    KeepEngine(StoredEngine),
    /// Handle a tick at this time at the latest, in milliseconds of the growing clock.
    WakeAt(u64),
}

/// Progress of an update, for the cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Id of the directive.
    pub id: String,
    /// sha256 of the release, hex.
    pub sha256: String,
    /// State of the update.
    pub state: UpdateState,
    /// Reason of a wait, a roll-back or the ending.
    pub why: Option<Refusal>,
}

pub(crate) fn refusal(reason: Reason, detail: impl Into<String>) -> Refusal {
    Refusal {
        reason,
        detail: detail.into(),
    }
}
