use iottly_protocol::release::{Action, HealthRules, Reason, Refusal, Release, UpdateState, Window};
use iottly_protocol::tuf::Vouched;
use serde::{Deserialize, Serialize};

use crate::memory::Memory;

/// One of the two places for a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    /// The first.
    A,
    /// The second.
    B,
}

impl Slot {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// Which firmware the device runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Running {
    /// The one it was set up with, if any.
    Factory,
    /// A release.
    Slot(Slot),
}

/// What is known about a release once its metadata is verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// The path under which it is served, encoded for an address.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// sha256, hex.
    pub sha256: String,
    /// Its number.
    pub release_seq: u64,
    /// The floor once it is committed.
    pub security_floor: u64,
    /// Bytes of a part.
    pub chunk_size: u64,
    /// Root over the parts, hex.
    pub chunk_root: String,
    /// The layout in which it writes its state.
    pub data_schema: u32,
    /// When its trial is good.
    pub health: HealthRules,
}

impl Planned {
    /// What is kept of a verified release.
    #[must_use]
    pub fn new(release: &Release, served_path: String) -> Self {
        let manifest = &release.manifest;
        Self {
            path: served_path,
            size: release.size,
            sha256: release.sha256.clone(),
            release_seq: manifest.release_seq,
            security_floor: manifest.security_floor,
            chunk_size: manifest.chunk_size,
            chunk_root: manifest.chunk_root.to_ascii_lowercase(),
            data_schema: manifest.data_schema.writes,
            health: manifest.health,
        }
    }
}

/// A directive that was accepted: verified, for this device, in its time, with a new counter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The directive's id.
    pub id: String,
    /// The signed document, to be verified again after a restart.
    pub document: String,
    /// The directive's counter.
    pub counter: u64,
    /// What to do.
    pub action: Action,
    /// The release's sha256, hex.
    pub sha256: String,
    /// How long the update may take, seconds.
    pub deadline_s: u64,
    /// When it may begin.
    pub window: Option<Window>,
    /// Bytes a second at most; 0 for no cap.
    pub max_bps: u64,
}

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
