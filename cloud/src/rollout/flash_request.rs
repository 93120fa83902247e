//! Parameters and results of a deployment, and the reasons for which none begins. Shapes only.

use super::BuildFailure;
use crate::fair_queue::QueueFull;
use crate::releases::ReleaseError;
use iottly_core::model::{Policy, PolicyError, RolloutId, StoredRelease};
use iottly_core::rollout::Preflight;
use iottly_store::StoreError;

/// Parameters of a deployment, besides the group.
#[derive(Debug, Clone, Default)]
pub struct FlashRequest {
    /// Policy of the rollout; the group's own policy when none is given.
    pub policy: Option<Policy>,
    /// Approved capabilities beyond those of the group's last release.
    pub approve: Vec<String>,
    /// True if devices may try again a release that they rolled back.
    pub force: bool,
    /// True to report only what would happen.
    pub dry_run: bool,
    /// Revision of the branch; the newest when none is given.
    pub revision: Option<u64>,
}

/// Result of a deployment.
#[derive(Debug, Clone)]
pub struct Flashed {
    /// Release; in a dry run the release that would be made.
    pub release: StoredRelease,
    /// Id of the rollout; none in a dry run.
    pub rollout: Option<RolloutId>,
    /// Devices that would accept the release, judged by their reported facts.
    pub preflight: Preflight,
}

/// Reason for which a deployment does not begin.
#[derive(Debug, thiserror::Error)]
pub enum FlashError {
    /// The group follows no branch.
    #[error("deployment group {0:?} follows no branch")]
    NoBranch(String),
    /// The branch has no revision to deploy.
    #[error("branch {0:?} has no saved version")]
    NoRevision(String),
    /// The group has no earlier release to return to.
    #[error("no earlier release was deployed to deployment group {0:?}")]
    NothingBefore(String),
    /// The cloud has no builder.
    #[error("this cloud has no builder: upload a component")]
    NoBuilder,
    /// The code or the component is at fault.
    #[error("{0}")]
    Code(String),
    /// The cloud's builder failed; the code may be correct.
    #[error("the cloud cannot build code now: {0}")]
    BuilderDown(String),
    /// The component cannot be parsed.
    #[error("the component cannot be read")]
    Unreadable,
    /// Too many requests of this kind wait in the project.
    #[error(transparent)]
    Busy(#[from] QueueFull),
    /// The disk of the cloud is nearly full.
    #[error("the disk of the cloud is nearly full: nothing more is accepted until there is room")]
    DiskFull,
    /// The policy is invalid.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The release requests capabilities beyond those of the group's last release, and they were not
    /// approved.
    #[error(
        "the release requests new capabilities: {}; approve them with `approve` in the request, or with{} on the command line",
        .0.join(", "), .0.iter().map(|name| format!(" --approve {name}")).collect::<String>()
    )]
    Wider(Vec<String>),
    /// The release cannot be made.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Any other error.
    #[error("{0}")]
    Failed(String),
}

impl From<BuildFailure> for FlashError {
    fn from(failure: BuildFailure) -> Self {
        match failure {
            BuildFailure::Code(reason) => Self::Code(reason),
            BuildFailure::Builder(reason) => Self::BuilderDown(reason),
        }
    }
}
