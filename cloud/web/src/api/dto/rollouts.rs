//! JSON types for releases and rollouts.

use iottly_protocol::release::Reason;
use iottly_protocol::{DeviceId, GroupId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Date, OK};
use iottly_cloud::rollout::{FlashRequest, Flashed};
use iottly_core::model::Policy;
use iottly_core::model::{Rollout, RolloutId, RolloutKind, RolloutMember, StoredRelease};
use iottly_core::rollout::{Place, Places, Preflight, place};

/// Signed release.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReleaseDto {
    /// Number of the release; numbers order the project's releases.
    release: u64,
    /// Path of the component in the project's repository.
    path: String,
    /// Branch of the release.
    branch: String,
    /// Number of the revision in the branch.
    revision: u64,
    /// SHA-256 of the component, in hex.
    sha256: String,
    /// Size of the component, in bytes.
    size: u64,
    /// Capabilities that the release requests of a board, sorted.
    capabilities: Vec<String>,
    /// Duration of the trial on a device, in milliseconds.
    grace_ms: u64,
    /// Name of the token that made the release.
    author: String,
    /// Creation time.
    created: Date,
}

impl From<StoredRelease> for ReleaseDto {
    fn from(release: StoredRelease) -> Self {
        Self {
            release: release.seq,
            path: release.path,
            branch: release.branch,
            revision: release.revision,
            sha256: release.sha256,
            size: release.size,
            capabilities: release.capabilities,
            grace_ms: release.grace_ms,
            author: release.author,
            created: release.created.into(),
        }
    }
}

/// Rollout of a release to a group.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RolloutDto {
    /// Id of the rollout.
    #[schema(value_type = String, format = "uuid")]
    pub(crate) id: RolloutId,
    /// Id of the group that gets the release.
    #[schema(value_type = String, format = "uuid")]
    deployment_group: GroupId,
    /// Number of the release.
    release: u64,
    /// `install`, or `rollback` to the previous release of the group.
    #[schema(value_type = String)]
    kind: &'static str,
    /// `deploying`, `deployed`, `paused`, `halted`, `rolled_back` or `cancelled`.
    #[schema(value_type = String)]
    status: &'static str,
    /// Policy by which the rollout spreads.
    policy: Policy,
    /// Capabilities that its devices may grant the release.
    approved: Vec<String>,
    /// Facts for which the rollout halted itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<Value>,
    /// Reason for which the rollout was cancelled by the platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Number of devices in the group when the rollout started.
    devices: u64,
    /// Name of the token that started the rollout.
    author: String,
    /// Start time.
    created: Date,
    /// Time of the last change.
    changed: Date,
}

impl From<Rollout> for RolloutDto {
    fn from(rollout: Rollout) -> Self {
        Self {
            id: rollout.id,
            deployment_group: rollout.group,
            release: rollout.release,
            kind: match rollout.kind {
                RolloutKind::Install => "install",
                RolloutKind::Rollback => "rollback",
            },
            status: rollout.status.as_str(),
            policy: rollout.policy,
            approved: rollout.approved,
            evidence: rollout.evidence.and_then(|text| serde_json::from_str(&text).ok()),
            reason: rollout.ended.map(Into::into),
            devices: rollout.devices,
            author: rollout.author,
            created: rollout.created.into(),
            changed: rollout.changed.into(),
        }
    }
}

/// Device that a rollout has notified or may notify, with its progress.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RolloutDeviceDto {
    /// Id of the device.
    #[schema(value_type = String, format = "uuid")]
    device: DeviceId,
    /// Name of the device.
    name: String,
    /// True while the device is connected.
    online: bool,
    /// `untold` before the device is notified, `directive` until it reports, then the state that it reports.
    #[schema(value_type = String)]
    state: &'static str,
    /// `waiting`, `deferred`, `updating`, `trial`, `committed`, `cancelled`, `failed` or `rolled_back`: the state in one of
    /// few words, as in `counts` of the rollout.
    #[schema(value_type = String)]
    place: Place,
    /// Id of the directive that the device was sent; left out before.
    #[serde(skip_serializing_if = "Option::is_none")]
    directive: Option<String>,
    /// Reason for which the update waits or has ended; left out without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    reason: Option<Reason>,
    /// Details of the reason, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// Number of failures of the update on the device.
    failures: u32,
    /// Number of firmware failures during the trial: traps, and errors in its log.
    faults: u32,
    /// Text of the latest stop among these failures; before a stop, of the first error in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
    /// Time at which the directive was sent; left out before.
    #[serde(rename = "told", skip_serializing_if = "Option::is_none")]
    sent: Option<Date>,
    /// Time of the last change; left out before the directive was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<Date>,
    /// States that the update went through, oldest first.
    steps: Vec<StepDto>,
}

/// Numbers of the devices of a rollout, by how far they are.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CountsDto {
    /// Not notified yet.
    waiting: u64,
    /// The update waits on the device; its reason names for what.
    deferred: u64,
    /// The device fetches and checks the release.
    updating: u64,
    /// The release runs and is watched.
    trial: u64,
    /// The release runs and is healthy.
    committed: u64,
    /// The update was withdrawn.
    cancelled: u64,
    /// The device did not accept the release, or abandoned the update.
    failed: u64,
    /// The release was tried, and the former one runs again.
    rolled_back: u64,
}

impl From<Places> for CountsDto {
    fn from(places: Places) -> Self {
        Self {
            waiting: places.at(Place::Waiting),
            deferred: places.at(Place::Deferred),
            updating: places.at(Place::Updating),
            trial: places.at(Place::Trial),
            committed: places.at(Place::Committed),
            cancelled: places.at(Place::Cancelled),
            failed: places.at(Place::Failed),
            rolled_back: places.at(Place::RolledBack),
        }
    }
}

/// State that an update went through.
#[derive(Debug, Serialize, ToSchema)]
struct StepDto {
    /// Name of the state.
    #[schema(value_type = String)]
    state: &'static str,
    /// Time at which the cloud received the report.
    at: Date,
}

impl From<RolloutMember> for RolloutDeviceDto {
    fn from(member: RolloutMember) -> Self {
        let directive = member.directive.as_ref();
        let state = match directive {
            None => "untold",
            Some(directive) => directive.state.map_or("told", |state| state.as_str()),
        };
        let steps = directive
            .map(|directive| directive.steps.as_slice())
            .unwrap_or_default();
        Self {
            place: place(&member),
            device: member.device,
            online: member.online,
            state,
            directive: directive.map(|directive| directive.id.clone()),
            reason: directive.and_then(|directive| directive.reason),
            detail: directive.and_then(|directive| directive.detail.clone()),
            failures: directive.map_or(0, |directive| directive.failures),
            faults: directive.map_or(0, |directive| directive.faults),
            fault: directive.and_then(|directive| directive.fault.clone()),
            sent: directive.map(|directive| directive.sent.into()),
            changed: directive.map(|directive| directive.changed.into()),
            steps: steps
                .iter()
                .map(|(state, at)| StepDto {
                    state: state.as_str(),
                    at: (*at).into(),
                })
                .collect(),
            name: member.name,
        }
    }
}

/// Page of the releases of a project.
#[derive(Serialize, ToSchema)]
pub(crate) struct ReleaseList {
    /// Releases, newest first.
    pub(crate) releases: Vec<ReleaseDto>,
    /// Cursor of the next page, if there is one: `before=<next>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<u64>,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}

/// Release.
#[derive(Serialize, ToSchema)]
pub(crate) struct OneRelease {
    /// The release.
    pub(crate) release: ReleaseDto,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}

/// Rollouts of a project.
#[derive(Serialize, ToSchema)]
pub(crate) struct RolloutList {
    /// Rollouts, newest first.
    pub(crate) rollouts: Vec<RolloutDto>,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}

/// Rollout.
#[derive(Serialize, ToSchema)]
pub(crate) struct OneRollout {
    /// The rollout.
    pub(crate) rollout: RolloutDto,
    /// Numbers of its devices, by how far they are.
    pub(crate) counts: CountsDto,
    /// Mark of the progress of the rollout and its devices, for `seen`.
    pub(crate) mark: String,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}

/// Devices of a rollout.
#[derive(Serialize, ToSchema)]
pub(crate) struct RolloutDevices {
    /// Devices with their progress.
    pub(crate) devices: Vec<RolloutDeviceDto>,
    /// Value of `after` for the page behind this one; only with `limit`, and only if there is one.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<DeviceId>,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}

/// Rollout policy of a deployment group.
#[derive(Serialize, ToSchema)]
pub(crate) struct OnePolicy {
    /// The policy.
    pub(crate) policy: Policy,
    /// HTTP status: always 200.
    pub(crate) status: u16,
}

/// Options of a deployment; all can be left out.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Flash {
    /// Policy that replaces the group's; a setting that is left out gets its default.
    policy: Option<Policy>,
    /// Approved capabilities beyond those of the previous release.
    approve: Vec<String>,
    /// Lets devices retry a release that they have rolled back.
    force: bool,
    /// Returns what would happen, without deploying.
    dry_run: bool,
    /// Revision of the branch; the newest by default.
    revision: Option<u64>,
}

impl From<Flash> for FlashRequest {
    fn from(flash: Flash) -> Self {
        let Flash {
            policy,
            approve,
            force,
            dry_run,
            revision,
        } = flash;
        Self {
            policy,
            approve,
            force,
            dry_run,
            revision,
        }
    }
}

/// Deployment that was started.
#[derive(Serialize, ToSchema)]
pub(crate) struct FlashDto {
    /// HTTP status: always 200.
    status: u16,
    /// Release that is deployed; in a dry run, the one that would be.
    release: ReleaseDto,
    /// Id of the rollout; left out in a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    rollout: Option<RolloutId>,
    /// Expected decisions of the devices.
    preflight: PreflightDto,
}

/// Devices that would accept or refuse the release, by the facts that they have reported.
#[derive(Serialize, ToSchema)]
struct PreflightDto {
    /// Ids of the devices that would accept the release.
    #[schema(value_type = Vec<String>)]
    ready: Vec<DeviceId>,
    /// Devices that would refuse the release.
    refusals: Vec<RefusalDto>,
    /// Devices that have not reported any facts yet.
    #[schema(value_type = Vec<String>)]
    unknown: Vec<DeviceId>,
}

/// Device that would refuse a release.
#[derive(Serialize, ToSchema)]
struct RefusalDto {
    /// Id of the device.
    #[schema(value_type = String, format = "uuid")]
    device: DeviceId,
    /// Reason of the refusal.
    #[schema(value_type = String)]
    reason: Reason,
    /// Details of the reason, for people.
    detail: String,
}

impl From<Flashed> for FlashDto {
    fn from(flashed: Flashed) -> Self {
        let Preflight {
            ready,
            refusals,
            unknown,
        } = flashed.preflight;
        let refusals = refusals.into_iter();
        let refusals = refusals
            .map(|(device, why)| RefusalDto {
                device,
                reason: why.reason,
                detail: why.detail,
            })
            .collect();
        let preflight = PreflightDto {
            ready,
            refusals,
            unknown,
        };
        Self {
            status: OK,
            release: flashed.release.into(),
            rollout: flashed.rollout,
            preflight,
        }
    }
}
