//! JSON types for releases and rollouts.

use std::borrow::Cow;

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
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ReleaseDto {
    /// Number of the release; numbers order the project's releases.
    pub release: u64,
    /// Path of the component in the project's repository.
    pub path: String,
    /// Branch of the release.
    pub branch: String,
    /// Number of the revision in the branch.
    pub revision: u64,
    /// SHA-256 of the component, in hex.
    pub sha256: String,
    /// Size of the component, in bytes.
    pub size: u64,
    /// Capabilities that the release requests of a board, sorted.
    pub capabilities: Vec<String>,
    /// Duration of the trial on a device, in milliseconds.
    pub grace_ms: u64,
    /// Name of the token that made the release.
    pub author: String,
    /// Creation time.
    pub created: Date,
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
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RolloutDto {
    /// Id of the rollout.
    #[schema(value_type = String, format = "uuid")]
    pub id: RolloutId,
    /// Id of the group that gets the release.
    #[schema(value_type = String, format = "uuid")]
    pub deployment_group: GroupId,
    /// Number of the release.
    pub release: u64,
    /// `install`, or `rollback` to the previous release of the group.
    #[schema(value_type = String)]
    pub kind: Cow<'static, str>,
    /// `deploying`, `deployed`, `paused`, `halted`, `rolled_back` or `cancelled`.
    #[schema(value_type = String)]
    pub status: Cow<'static, str>,
    /// Policy by which the rollout spreads.
    pub policy: Policy,
    /// Capabilities that its devices may grant the release.
    pub approved: Vec<String>,
    /// Facts for which the rollout halted itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Value>,
    /// Reason for which the rollout was cancelled by the platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Number of devices in the group when the rollout started.
    pub devices: u64,
    /// Name of the token that started the rollout.
    pub author: String,
    /// Start time.
    pub created: Date,
    /// Time of the last change.
    pub changed: Date,
}

impl From<Rollout> for RolloutDto {
    fn from(rollout: Rollout) -> Self {
        Self {
            id: rollout.id,
            deployment_group: rollout.group,
            release: rollout.release,
            kind: match rollout.kind {
                RolloutKind::Install => "install".into(),
                RolloutKind::Rollback => "rollback".into(),
            },
            status: rollout.status.as_str().into(),
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
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RolloutDeviceDto {
    /// Id of the device.
    #[schema(value_type = String, format = "uuid")]
    pub device: DeviceId,
    /// Name of the device.
    pub name: String,
    /// True while the device is connected.
    pub online: bool,
    /// `untold` before the device is notified, `directive` until it reports, then the state that it reports.
    #[schema(value_type = String)]
    pub state: Cow<'static, str>,
    /// `waiting`, `deferred`, `updating`, `trial`, `committed`, `cancelled`, `failed` or `rolled_back`: the state in one of
    /// few words, as in `counts` of the rollout.
    #[schema(value_type = String)]
    pub place: Place,
    /// Id of the directive that the device was sent; left out before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directive: Option<String>,
    /// Reason for which the update waits or has ended; left out without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub reason: Option<Reason>,
    /// Details of the reason, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Number of failures of the update on the device.
    pub failures: u32,
    /// Number of firmware failures during the trial: traps, and errors in its log.
    pub faults: u32,
    /// Text of the latest stop among these failures; before a stop, of the first error in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Time at which the directive was sent; left out before.
    #[serde(rename = "told", skip_serializing_if = "Option::is_none")]
    pub sent: Option<Date>,
    /// Time of the last change; left out before the directive was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<Date>,
    /// States that the update went through, oldest first.
    pub steps: Vec<StepDto>,
}

/// Numbers of the devices of a rollout, by how far they are.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct CountsDto {
    /// Not notified yet.
    pub waiting: u64,
    /// The update waits on the device; its reason names for what.
    pub deferred: u64,
    /// The device fetches and checks the release.
    pub updating: u64,
    /// The release runs and is watched.
    pub trial: u64,
    /// The release runs and is healthy.
    pub committed: u64,
    /// The update was withdrawn.
    pub cancelled: u64,
    /// The device did not accept the release, or abandoned the update.
    pub failed: u64,
    /// The release was tried, and the former one runs again.
    pub rolled_back: u64,
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
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct StepDto {
    /// Name of the state.
    #[schema(value_type = String)]
    pub state: Cow<'static, str>,
    /// Time at which the cloud received the report.
    pub at: Date,
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
            state: state.into(),
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
                    state: state.as_str().into(),
                    at: (*at).into(),
                })
                .collect(),
            name: member.name,
        }
    }
}

/// Page of the releases of a project.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct ReleaseList {
    /// Releases, newest first.
    pub releases: Vec<ReleaseDto>,
    /// Cursor of the next page, if there is one: `before=<next>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
    /// HTTP status: always 200.
    pub status: u16,
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
#[derive(Serialize, Deserialize, ToSchema)]
pub struct RolloutList {
    /// Rollouts, newest first.
    pub rollouts: Vec<RolloutDto>,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Rollout.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct OneRollout {
    /// The rollout.
    pub rollout: RolloutDto,
    /// Numbers of its devices, by how far they are.
    pub counts: CountsDto,
    /// Number of its devices that have not gone as planned, or have reported a reason.
    #[serde(default)]
    pub exceptions: u64,
    /// Numbers of devices in parts of about the same size, in the order of ids; only with `parts`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<CountsDto>,
    /// Mark of the progress of the rollout and its devices, for `seen`.
    pub mark: String,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Devices of a rollout.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct RolloutDevices {
    /// Devices with their progress.
    pub devices: Vec<RolloutDeviceDto>,
    /// Value of `after` for the page behind this one; only with `limit`, and only if there is one.
    #[schema(value_type = Option<String>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<DeviceId>,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Rollout policy of a deployment group.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct OnePolicy {
    /// The policy.
    pub policy: Policy,
    /// HTTP status: always 200.
    pub status: u16,
}

/// Options of a way back; all can be left out.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RollBack {
    /// Returns what would happen, without deploying.
    pub(crate) dry_run: bool,
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
#[derive(Serialize, Deserialize, ToSchema)]
pub struct FlashDto {
    /// HTTP status: always 200.
    pub status: u16,
    /// Release that is deployed; in a dry run, the one that would be.
    pub release: ReleaseDto,
    /// Id of the rollout; left out in a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub rollout: Option<RolloutId>,
    /// Expected decisions of the devices.
    pub preflight: PreflightDto,
}

/// Devices that would accept or refuse the release, by the facts that they have reported.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct PreflightDto {
    /// Ids of the devices that would accept the release.
    #[schema(value_type = Vec<String>)]
    pub ready: Vec<DeviceId>,
    /// Devices that would refuse the release.
    pub refusals: Vec<RefusalDto>,
    /// Devices that have not reported any facts yet.
    #[schema(value_type = Vec<String>)]
    pub unknown: Vec<DeviceId>,
}

/// Device that would refuse a release.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct RefusalDto {
    /// Id of the device.
    #[schema(value_type = String, format = "uuid")]
    pub device: DeviceId,
    /// Reason of the refusal.
    #[schema(value_type = String)]
    pub reason: Reason,
    /// Details of the reason, for people.
    pub detail: String,
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
