use iottly_protocol::release::{DeviceFacts, Reason, UpdateState};
use iottly_protocol::{DeviceId, GroupId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Policy;
use super::{RolloutId, UnixMs};

/// What its owner wants of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// Go on.
    Run,
    /// Tell no more devices.
    Pause,
    /// Withdraw what is not switched on yet.
    Cancel,
}

/// A rollout under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// What its owner wants.
    pub wish: Wish,
    /// It has stopped itself; its owner may let it go on.
    pub halted: bool,
    /// How many members, in order, had been reached when the last wave was done, and when that was (seconds
    /// of the steady clock).
    pub soaking: Option<(u64, u64)>,
}

/// The group's status, as the API shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Devices are being told.
    Deploying,
    /// Every device that is not pinned runs it, up to the failures that the policy allows.
    Deployed,
    /// Its owner has stopped it for now.
    Paused,
    /// It has stopped itself.
    Halted,
    /// Its owner has given it up.
    Cancelled,
}

/// A signed release of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRelease {
    /// Orders the project's releases.
    pub seq: u64,
    /// The target's path in the repository.
    pub path: String,
    /// The branch it was made from.
    pub branch: String,
    /// The branch's revision.
    pub revision: u64,
    /// sha256 of the component, hex.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// Names what it was made from and by which builder.
    pub source: String,
    /// What of a board it may reach, sorted.
    pub capabilities: Vec<String>,
    /// How long its trial lasts, milliseconds.
    pub grace_ms: u64,
    /// Name of the token it was made with.
    pub author: String,
    /// When it was made.
    pub created: UnixMs,
}

/// What a rollout is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutKind {
    /// A release that the group has not had.
    Install,
    /// What the group had before, under a higher number.
    Rollback,
}

/// A rollout: a release on its way into a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// Its id.
    pub id: RolloutId,
    /// The group.
    pub group: GroupId,
    /// Number of the release.
    pub release: u64,
    /// What it is for.
    pub kind: RolloutKind,
    /// How it spreads.
    pub policy: Policy,
    /// Capabilities that its devices may grant the release.
    pub approved: Vec<String>,
    /// Devices may try again what they rolled back.
    pub force: bool,
    /// Where it is.
    pub run: Run,
    /// The status that devices' reports led to.
    pub status: RolloutStatus,
    /// Why it stopped itself, JSON.
    pub evidence: Option<Box<str>>,
    /// Whether something may still be done.
    pub active: bool,
    /// Number of devices in the group when the rollout was started.
    pub devices: u64,
    /// Reason for which the rollout was given up.
    pub ended: Option<Box<str>>,
    /// Grows with every change.
    pub version: u64,
    /// Name of the token it was started with.
    pub author: String,
    /// When it was started.
    pub created: UnixMs,
    /// When it changed last.
    pub changed: UnixMs,
}

/// The words of a group's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutStatus {
    /// See [`Status`].
    Of(Status),
    /// A rollout that brought an earlier release back is through.
    RolledBack,
}

impl RolloutStatus {
    /// The word in the API and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Of(Status::Deploying) => "deploying",
            Self::Of(Status::Deployed) => "deployed",
            Self::Of(Status::Paused) => "paused",
            Self::Of(Status::Halted) => "halted",
            Self::Of(Status::Cancelled) => "cancelled",
            Self::RolledBack => "rolled_back",
        }
    }

    /// The status of this word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        let all = [
            Status::Deploying,
            Status::Deployed,
            Status::Paused,
            Status::Halted,
            Status::Cancelled,
        ];
        all.into_iter()
            .map(Self::Of)
            .chain([Self::RolledBack])
            .find(|status| status.as_str() == word)
    }
}

/// A rollout that is to be started.
#[derive(Debug, Clone)]
pub struct NewRollout {
    /// Its id.
    pub id: RolloutId,
    /// The group.
    pub group: GroupId,
    /// Number of the release.
    pub release: u64,
    /// What it is for.
    pub kind: RolloutKind,
    /// How it spreads.
    pub policy: Policy,
    /// Capabilities that its devices may grant the release.
    pub approved: Vec<String>,
    /// Devices may try again what they rolled back.
    pub force: bool,
    /// For the audit log: the branch, the revision, and what was approved only now.
    pub note: String,
}

/// What its owner does to a running rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steer {
    /// Tell no more devices.
    Pause,
    /// Go on; what failed is tried again.
    Resume,
    /// Withdraw what is not switched on yet.
    Cancel,
}

impl Steer {
    /// What it makes of the owner's wish.
    #[must_use]
    pub const fn wish(self) -> Wish {
        match self {
            Self::Pause => Wish::Pause,
            Self::Resume => Wish::Run,
            Self::Cancel => Wish::Cancel,
        }
    }
}

/// A device that a rollout has notified or may notify, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutMember {
    /// The device.
    pub device: DeviceId,
    /// Its name.
    pub name: String,
    /// Whether it is connected.
    pub online: bool,
    /// The device is in the rollout's group now.
    pub in_group: bool,
    /// The highest counter of a directive to it.
    pub counter: u64,
    /// What it was told; none before.
    pub told: Option<Told>,
}

/// What a device was told, and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Id of the directive.
    pub directive: String,
    /// Counter of the directive, or of its withdrawal.
    pub counter: u64,
    /// When.
    pub at: UnixMs,
    /// Whether it was withdrawn.
    pub withdrawn: bool,
    /// What the device said last; none when it has said nothing.
    pub state: Option<UpdateState>,
    /// Why it waits or has ended.
    pub reason: Option<Reason>,
    /// What exactly, for people.
    pub detail: Option<String>,
    /// How often it failed.
    pub failures: u32,
    /// When the last of this came.
    pub changed: UnixMs,
    /// When the device's last word was noticed, milliseconds of the steady clock; none until the executor has
    /// noticed it.
    pub heard: Option<u64>,
    /// Failures of the firmware while it was on trial.
    pub faults: u32,
    /// Text of the last of these failures.
    pub fault: Option<String>,
    /// The states it went through and when the cloud heard of them, oldest first.
    pub steps: Vec<(UpdateState, UnixMs)>,
}

/// A directive that was signed for a device.
#[derive(Debug, Clone)]
pub struct Telling {
    /// The device.
    pub device: DeviceId,
    /// Id of the directive.
    pub directive: String,
    /// Its counter.
    pub counter: u64,
    /// The document as it was signed.
    pub document: Box<RawValue>,
}

/// What a step of the executor changes, in one transaction.
#[derive(Debug, Clone)]
pub struct RolloutStep {
    /// The rollout.
    pub id: RolloutId,
    /// Its group.
    pub group: GroupId,
    /// The version that the step was decided on.
    pub version: u64,
    /// Where the rollout is now.
    pub run: Run,
    /// Its status.
    pub status: RolloutStatus,
    /// Reason for stopping by itself, JSON, when that is new.
    pub evidence: Option<String>,
    /// The rollout stops itself with this step, which goes into the audit log.
    pub halts: bool,
    /// Reason for giving the rollout up, when this step does that.
    pub ended: Option<&'static str>,
    /// Whether something may still be done.
    pub active: bool,
    /// The revision that the group runs now, when the rollout is through.
    pub revision: Option<u64>,
    /// Devices that are told to install.
    pub told: Vec<Telling>,
    /// Devices that are told to give it up.
    pub withdrawn: Vec<Telling>,
}

/// What a device said decides on releases there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownFacts {
    /// The device.
    pub device: DeviceId,
    /// Its name.
    pub name: String,
    /// What it said; none when it never did.
    pub facts: Option<DeviceFacts>,
}
