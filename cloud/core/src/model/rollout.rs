//! Releases, rollouts and the devices in them, as the store keeps them. Decides nothing.

use iottly_protocol::release::{DeviceFacts, Reason, UpdateState};
use iottly_protocol::{DeviceId, GroupId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Policy;
use super::{RolloutId, UnixMs};

/// Intent of a rollout's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutIntent {
    /// Continue the rollout.
    Run,
    /// Send no further directives.
    Pause,
    /// Withdraw the release from devices that have not activated it.
    Cancel,
}

/// Command of an operator to an active rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutCommand {
    /// Send no further directives.
    Pause,
    /// Continue; failed devices are tried again.
    Resume,
    /// Withdraw the release from devices that have not activated it.
    Cancel,
}

impl RolloutCommand {
    /// Returns the intent that the command leaves the rollout with.
    #[must_use]
    pub const fn intent(self) -> RolloutIntent {
        match self {
            Self::Pause => RolloutIntent::Pause,
            Self::Resume => RolloutIntent::Run,
            Self::Cancel => RolloutIntent::Cancel,
        }
    }
}

/// Progress of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutProgress {
    /// Intent of the owner.
    pub intent: RolloutIntent,
    /// True if the rollout halted itself; its owner may resume it.
    pub halted: bool,
    /// Number of members, in order, that had been reached when the last wave was done, and the time of that
    /// in seconds of the steady clock.
    pub soaking: Option<(u64, u64)>,
}

/// Status of a rollout, and of the group whose current rollout it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutStatus {
    /// Directives are being sent.
    Deploying,
    /// Every device that is not pinned runs the release, except for the failures that the policy allows.
    Deployed,
    /// The owner has paused the rollout.
    Paused,
    /// The rollout has halted itself.
    Halted,
    /// The owner has cancelled the rollout.
    Cancelled,
    /// As [`Deployed`](Self::Deployed), of a rollback.
    RolledBack,
}

impl RolloutStatus {
    /// All statuses.
    pub const ALL: [Self; 6] = [
        Self::Deploying,
        Self::Deployed,
        Self::Paused,
        Self::Halted,
        Self::Cancelled,
        Self::RolledBack,
    ];

    /// Returns the word in the API and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deploying => "deploying",
            Self::Deployed => "deployed",
            Self::Paused => "paused",
            Self::Halted => "halted",
            Self::Cancelled => "cancelled",
            Self::RolledBack => "rolled_back",
        }
    }

    /// Returns the status of this word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Returns true if the rollout is complete: its release is what the group runs.
    #[must_use]
    pub const fn is_complete(self) -> bool {
        matches!(self, Self::Deployed | Self::RolledBack)
    }
}

/// A signed release of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRelease {
    /// Number of the release; orders the project's releases.
    pub seq: u64,
    /// Path of the target in the release repository.
    pub path: String,
    /// Branch that the release was built from.
    pub branch: String,
    /// Revision of the branch.
    pub revision: u64,
    /// sha256 of the component, hex.
    pub sha256: String,
    /// Size of the component, in bytes.
    pub size: u64,
    /// Description of the source and the builder.
    pub source: String,
    /// Capabilities that the release requests of a board, sorted.
    pub capabilities: Vec<String>,
    /// Duration of the trial, in milliseconds.
    pub grace_ms: u64,
    /// Name of the token that made the release.
    pub author: String,
    /// Creation time.
    pub created: UnixMs,
}

/// Purpose of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutKind {
    /// Installs a release that the group has not had.
    Install,
    /// Installs an earlier release of the group again, under a higher number.
    Rollback,
}

/// A rollout: the installation of a release on the devices of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// Rollout id.
    pub id: RolloutId,
    /// Group that gets the release.
    pub group: GroupId,
    /// Number of the release.
    pub release: u64,
    /// Purpose of the rollout.
    pub kind: RolloutKind,
    /// Policy by which the rollout spreads.
    pub policy: Policy,
    /// Capabilities that its devices may grant the release.
    pub approved: Vec<String>,
    /// True if devices may try again a release that they rolled back.
    pub force: bool,
    /// Progress of the rollout.
    pub progress: RolloutProgress,
    /// Status, derived from the devices' reports.
    pub status: RolloutStatus,
    /// Evidence for which the rollout halted itself, as JSON.
    pub evidence: Option<Box<str>>,
    /// True while the executor may still have something to do.
    pub active: bool,
    /// Number of devices in the group when the rollout was started.
    pub devices: u64,
    /// Reason for which the rollout was abandoned.
    pub ended: Option<Box<str>>,
    /// Version, increased by every change.
    pub version: u64,
    /// Name of the token that started the rollout.
    pub author: String,
    /// Start time.
    pub created: UnixMs,
    /// Time of the last change.
    pub changed: UnixMs,
}

/// A rollout to start.
#[derive(Debug, Clone)]
pub struct NewRollout {
    /// Rollout id.
    pub id: RolloutId,
    /// Group that gets the release.
    pub group: GroupId,
    /// Number of the release.
    pub release: u64,
    /// Purpose of the rollout.
    pub kind: RolloutKind,
    /// Policy by which the rollout spreads.
    pub policy: Policy,
    /// Capabilities that its devices may grant the release.
    pub approved: Vec<String>,
    /// True if devices may try again a release that they rolled back.
    pub force: bool,
    /// Note for the audit log: the branch, the revision, and newly approved capabilities.
    pub note: String,
}

/// A device that a rollout has notified or may notify, and its progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloutMember {
    /// Device id.
    pub device: DeviceId,
    /// Name of the device.
    pub name: String,
    /// True while the device is connected.
    pub online: bool,
    /// True if the device is in the rollout's group now.
    pub in_group: bool,
    /// Highest counter of the directives sent to the device.
    pub counter: u64,
    /// Directive that the device was sent; none before the first.
    pub directive: Option<DirectiveStatus>,
}

/// A directive sent to a device, and the device's reports about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectiveStatus {
    /// Id of the directive.
    pub id: String,
    /// Counter of the directive, or of its withdrawal.
    pub counter: u64,
    /// Time of sending.
    pub sent: UnixMs,
    /// True if the directive was withdrawn.
    pub withdrawn: bool,
    /// Last state that the device reported; none before the first report.
    pub state: Option<UpdateState>,
    /// Reason for which the update waits or has ended.
    pub reason: Option<Reason>,
    /// Details of the reason, for people.
    pub detail: Option<String>,
    /// Number of failures.
    pub failures: u32,
    /// Time of the last change.
    pub changed: UnixMs,
    /// Time at which the executor noticed the last report, in milliseconds of the steady clock; none until
    /// then.
    pub heard: Option<u64>,
    /// Number of failures of the firmware during its trial.
    pub faults: u32,
    /// Text of the last stop among these failures, or of the first log line of level `error` before a stop.
    pub fault: Option<String>,
    /// States that the update went through, with the times at which the cloud received them, oldest first.
    pub steps: Vec<(UpdateState, UnixMs)>,
}

/// A directive signed for a device.
#[derive(Debug, Clone)]
pub struct OutgoingDirective {
    /// Device id.
    pub device: DeviceId,
    /// Id of the directive.
    pub id: String,
    /// Counter of the directive.
    pub counter: u64,
    /// Signed document.
    pub document: Box<RawValue>,
}

/// Changes of one step of the executor, applied in one transaction.
#[derive(Debug, Clone)]
pub struct RolloutStep {
    /// The rollout.
    pub id: RolloutId,
    /// Group of the rollout.
    pub group: GroupId,
    /// Version of the rollout that the step was decided on.
    pub version: u64,
    /// New progress of the rollout.
    pub progress: RolloutProgress,
    /// New status of the rollout.
    pub status: RolloutStatus,
    /// New evidence for which the rollout halts itself, as JSON.
    pub evidence: Option<String>,
    /// True if the rollout halts itself with this step, which is written to the audit log.
    pub halts: bool,
    /// Reason for abandoning the rollout, when this step does so.
    pub ended: Option<&'static str>,
    /// True while the executor may still have something to do.
    pub active: bool,
    /// Revision that the group runs now, when the rollout is complete.
    pub revision: Option<u64>,
    /// Install directives to send.
    pub install: Vec<OutgoingDirective>,
    /// Cancel directives to send.
    pub cancel: Vec<OutgoingDirective>,
}

/// Facts about a device that decide which releases it accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownFacts {
    /// Device id.
    pub device: DeviceId,
    /// Name of the device.
    pub name: String,
    /// Last reported facts; none before the first report.
    pub facts: Option<DeviceFacts>,
}
