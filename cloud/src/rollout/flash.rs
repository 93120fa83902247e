//! The way from a group's branch to a rollout: build, check the capabilities, sign, start.

use std::collections::BTreeSet;
use std::sync::Arc;

use iottly_protocol::release::{Action, DeviceFacts, HealthRules, Release};
use iottly_protocol::tuf::Instant;
use iottly_protocol::{GroupId, ProjectId};
use tracing::Instrument;

use super::component::{Made, Wanted};
use super::send::directive;
use super::{BuildFailure, Rollouts};
use crate::clock;
use crate::fair_queue::QueueFull;
use crate::releases::{NewRelease, OfferedEngine, ReleaseError};
use iottly_core::model::{
    Change, Group, KnownFacts, NewRollout, Principal, Revision, Rollout, RolloutId, RolloutKind, Snippet,
    StoredRelease,
};
use iottly_core::model::{Policy, PolicyError, RolloutIntent, RolloutProgress, RolloutStatus};
use iottly_core::rollout::seconds;
use iottly_core::rollout::{Preflight, preflight};
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
    #[error("the release requests new capabilities: {}; approve them with `approve`", .0.join(", "))]
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

/// Maximum bytes that a release adds to metadata and chunk lists.
const METADATA_BYTES: u64 = 64 << 10;
/// Number of releases after which a project's old ones are checked for deletion.
const TIDY_EVERY: u64 = 16;

/// A deployment with everything known but its component.
struct Prepared {
    group: Group,
    request: FlashRequest,
    policy: Policy,
    revision: Revision,
}

impl Rollouts {
    /// Makes a release of a group's branch and starts to roll it out to the group's devices.
    ///
    /// # Errors
    /// [`FlashError`]; nothing was sent to any device then.
    pub async fn flash(
        self: &Arc<Self>,
        by: &Principal,
        group: &Group,
        request: FlashRequest,
    ) -> Result<Flashed, FlashError> {
        let project = by.project;
        self.spare_disk().await?;
        let policy = request.policy.clone().unwrap_or_else(|| group.policy.clone());
        policy.check()?;
        let (revision, snippets) = self.revision(project, group, request.revision).await?;
        if self.builder.is_none() {
            return Err(FlashError::NoBuilder);
        }
        let wanted = self.wanted(project, &revision, snippets).await?;
        let prepared = Prepared {
            group: group.clone(),
            request,
            policy,
            revision,
        };
        let (this, by) = (Arc::clone(self), by.clone());
        // Continues if the client disconnects: a release must not be left half made.
        let deploying = async move { this.deploy(&by, prepared, wanted).await };
        let work = tokio::spawn(deploying.in_current_span());
        work.await
            .unwrap_or_else(|error| Err(FlashError::Failed(error.to_string())))
    }

    async fn deploy(
        &self,
        by: &Principal,
        prepared: Prepared,
        wanted: Wanted,
    ) -> Result<Flashed, FlashError> {
        let project = by.project;
        let made = self.make(project, wanted).await?;
        let Prepared {
            group,
            request,
            policy,
            revision,
        } = prepared;
        policy.fits(made.content.len() as u64)?;
        // The numbers of releases are consecutive; a dry run takes none.
        let _turn = if request.dry_run {
            None
        } else {
            Some(self.work.writes.take(project).await?)
        };
        let widened = self
            .widened(project, group.id, &made.capabilities, &request.approve)
            .await?;
        let mut rollout = draft(
            group.id,
            RolloutKind::Install,
            policy,
            made.capabilities.clone(),
            request.force,
        );
        let newest = self.store.releases(project, None, 1).await?.pop();
        let last = newest.as_ref().map_or(0, |newest| newest.seq);
        let mut new = new_release(&revision, &made, rollout.policy.grace_ms);
        // The newest release is used again if it equals the one to be made.
        let mut again = newest.filter(|old| is_same(old, &revision, &made, rollout.policy.grace_ms));
        let mut drafted = self.drafted(last, &new).await?;
        let devices = self.store.device_facts(project, rollout.group).await?;
        if let Some(engine) = self.engine_to_bring(&drafted, &devices) {
            new.engine = Some(engine);
            drafted = self.drafted(last, &new).await?;
            again = None;
        }
        let preflight = look_ahead(project, &rollout, &drafted, &devices);
        if request.dry_run {
            let release = again.unwrap_or_else(|| stored(&drafted, &revision, made.source, by));
            return Ok(Flashed {
                release,
                rollout: None,
                preflight,
            });
        }
        let release = match again {
            Some(release) => release,
            None => {
                self.publish_release(by, last, new, &revision, made.source)
                    .await?
            }
        };
        rollout.release = release.seq;
        let id = self.start(by, &rollout, note(&release, &widened)).await?;
        Ok(Flashed {
            release,
            rollout: Some(id),
            preflight,
        })
    }

    /// Rolls the group back to the release before its newest rollout, under a higher number, on all devices
    /// at once.
    ///
    /// # Errors
    /// [`FlashError`]; nothing was sent to any device then.
    pub async fn roll_back(self: &Arc<Self>, by: &Principal, group: &Group) -> Result<Flashed, FlashError> {
        self.spare_disk().await?;
        let turn = self.work.writes.take(by.project).await?;
        let (this, by, group) = (Arc::clone(self), by.clone(), group.clone());
        let reverting = async move {
            let _turn = turn;
            this.bring_back(&by, &group).await
        };
        let work = tokio::spawn(reverting.in_current_span());
        work.await
            .unwrap_or_else(|error| Err(FlashError::Failed(error.to_string())))
    }

    async fn bring_back(&self, by: &Principal, group: &Group) -> Result<Flashed, FlashError> {
        let project = by.project;
        let nothing = || FlashError::NothingBefore(group.name.clone());
        let newest = self
            .store
            .rollouts(project, Some(group.id), 1)
            .await?
            .pop()
            .ok_or_else(nothing)?;
        let replaced = self
            .store
            .one_release(project, newest.release)
            .await?
            .ok_or_else(nothing)?;
        let before = self.store.deployed(project, group.id, 100).await?;
        let old = before
            .into_iter()
            .find(|release| release.sha256 != replaced.sha256)
            .ok_or_else(nothing)?;
        let path = old.path.clone();
        let content = self
            .with_repositories(move |repositories, _| repositories.published(project, &path))
            .await?;
        let revision = Revision {
            branch: old.branch.clone(),
            number: old.revision,
            message: String::new(),
            author: String::new(),
            created: 0,
            digest: String::new(),
            component: None,
        };
        let made = Made {
            content,
            capabilities: old.capabilities.clone(),
            source: old.source.clone(),
        };
        let last = self
            .store
            .releases(project, None, 1)
            .await?
            .pop()
            .map_or(0, |newest| newest.seq);
        let new = new_release(&revision, &made, old.grace_ms);
        let policy = Policy {
            canary: 0,
            waves: Vec::new(),
            soak_s: 0,
            ..group.policy.clone()
        };
        let mut rollout = draft(
            group.id,
            RolloutKind::Rollback,
            policy,
            old.capabilities.clone(),
            true,
        );
        let release = self
            .publish_release(by, last, new, &revision, made.source)
            .await?;
        rollout.release = release.seq;
        let id = self
            .start(
                by,
                &rollout,
                format!("{}, as release {} was", note(&release, &[]), old.seq),
            )
            .await?;
        Ok(Flashed {
            release,
            rollout: Some(id),
            preflight: Preflight::default(),
        })
    }

    async fn revision(
        &self,
        project: ProjectId,
        group: &Group,
        number: Option<u64>,
    ) -> Result<(Revision, Vec<Snippet>), FlashError> {
        let Some(branch) = &group.branch else {
            return Err(FlashError::NoBranch(group.name.clone()));
        };
        let nothing = || FlashError::NoRevision(branch.clone());
        let number = match number {
            Some(number) => number,
            None => {
                self.store
                    .revisions(project, branch, None, 1)
                    .await?
                    .first()
                    .ok_or_else(nothing)?
                    .number
            }
        };
        self.store
            .revision(project, branch, number)
            .await?
            .ok_or_else(nothing)
    }

    /// Returns the capabilities of a release beyond those of the group's last one; an error unless all are
    /// approved.
    async fn widened(
        &self,
        project: ProjectId,
        group: GroupId,
        wanted: &[String],
        approve: &[String],
    ) -> Result<Vec<String>, FlashError> {
        let before = self
            .store
            .deployed(project, group, 1)
            .await?
            .pop()
            .map(|release| release.capabilities)
            .unwrap_or_default();
        let before: BTreeSet<String> = before.into_iter().collect();
        let wider: Vec<String> = wanted
            .iter()
            .filter(|name| !before.contains(*name))
            .cloned()
            .collect();
        let missing: Vec<String> = wider
            .iter()
            .filter(|name| !approve.contains(name))
            .cloned()
            .collect();
        if missing.is_empty() {
            Ok(wider)
        } else {
            Err(FlashError::Wider(missing))
        }
    }

    /// Returns the release that would be made.
    async fn drafted(&self, last: u64, new: &NewRelease) -> Result<Release, FlashError> {
        let new = new.clone();
        Ok(self
            .with_repositories(move |repositories, now| repositories.draft(last, &new, now))
            .await?)
    }

    /// Returns this cloud's script engine if it runs the release and a device needs it: the device runs scripts, but has
    /// no engine that fits.
    fn engine_to_bring(&self, release: &Release, devices: &[KnownFacts]) -> Option<OfferedEngine> {
        let need = release.manifest.engine.as_ref()?;
        let lacks = |facts: &DeviceFacts| {
            !facts.engines.is_empty() && !facts.engines.iter().any(|engine| need.fits(engine))
        };
        let needed = devices.iter().filter_map(|known| known.facts.as_ref()).any(lacks);
        self.builder.as_ref()?.engine.clone().filter(|_| needed)
    }

    async fn publish_release(
        &self,
        by: &Principal,
        last: u64,
        new: NewRelease,
        revision: &Revision,
        source: String,
    ) -> Result<StoredRelease, FlashError> {
        let project = by.project;
        let (capabilities, grace_ms) = (new.capabilities.clone(), new.health.grace_ms);
        let engine = new.engine.as_ref().map_or(0, |engine| engine.content.len());
        self.admit_files(project, (new.content.len() + engine) as u64 + METADATA_BYTES)
            .await?;
        let added = self
            .with_repositories(move |repositories, now| repositories.add(project, last, &new, now))
            .await?;
        let release = StoredRelease {
            seq: added.release_seq,
            path: added.path,
            branch: revision.branch.clone(),
            revision: revision.number,
            sha256: added.sha256,
            size: added.size,
            source,
            capabilities,
            grace_ms,
            author: by.name.clone(),
            created: clock::now(),
        };
        self.store
            .change(
                project,
                by,
                Change::AddRelease(Box::new(release.clone())),
                release.created,
            )
            .await?;
        self.measure(project).await?;
        Ok(release)
    }

    async fn start(&self, by: &Principal, rollout: &Rollout, note: String) -> Result<RolloutId, FlashError> {
        let new = NewRollout {
            id: rollout.id,
            group: rollout.group,
            release: rollout.release,
            kind: rollout.kind,
            policy: rollout.policy.clone(),
            approved: rollout.approved.clone(),
            force: rollout.force,
            note,
        };
        self.store
            .change(by.project, by, Change::StartRollout(Box::new(new)), clock::now())
            .await?;
        self.wake();
        if rollout.release.is_multiple_of(TIDY_EVERY)
            && let Err(error) = self.tidy_files(by.project, false).await
        {
            tracing::warn!(project.id = %by.project, %error, "failed to delete old releases; retrying later");
        }
        Ok(rollout.id)
    }
}

fn look_ahead(project: ProjectId, rollout: &Rollout, release: &Release, devices: &[KnownFacts]) -> Preflight {
    let now = Instant::from_unix(seconds(clock::now()));
    let make = |device, counter| {
        directive(project, rollout, &release.path, device, (Action::Install, false))
            .complete(release, counter, now)
    };
    preflight(project, release, devices, now, make)
}

fn new_release(revision: &Revision, made: &Made, grace_ms: u64) -> NewRelease {
    NewRelease {
        branch: revision.branch.clone(),
        content: made.content.clone(),
        version: format!("{} {}", revision.branch, revision.number),
        boards: Vec::new(),
        security_floor: 0,
        capabilities: made.capabilities.clone(),
        health: HealthRules {
            grace_ms,
            ..HealthRules::default()
        },
        engine: None,
    }
}

fn is_same(old: &StoredRelease, revision: &Revision, made: &Made, grace_ms: u64) -> bool {
    let from = (&old.branch, old.revision, &old.source) == (&revision.branch, revision.number, &made.source);
    from && old.grace_ms == grace_ms && old.capabilities == made.capabilities
}

fn draft(group: GroupId, kind: RolloutKind, policy: Policy, approved: Vec<String>, force: bool) -> Rollout {
    Rollout {
        id: RolloutId::random(),
        group,
        release: 0,
        kind,
        policy,
        approved,
        force,
        progress: RolloutProgress {
            intent: RolloutIntent::Run,
            halted: false,
            soaking: None,
        },
        status: RolloutStatus::Deploying,
        evidence: None,
        active: true,
        devices: 0,
        ended: None,
        version: 1,
        author: String::new(),
        created: 0,
        changed: 0,
    }
}

fn stored(release: &Release, revision: &Revision, source: String, by: &Principal) -> StoredRelease {
    StoredRelease {
        seq: release.manifest.release_seq,
        path: release.path.clone(),
        branch: revision.branch.clone(),
        revision: revision.number,
        sha256: release.sha256.clone(),
        size: release.size,
        source,
        capabilities: release.manifest.capabilities.clone(),
        grace_ms: release.manifest.health.grace_ms,
        author: by.name.clone(),
        created: clock::now(),
    }
}

/// Returns the note for the audit log.
fn note(release: &StoredRelease, widened: &[String]) -> String {
    let approved = if widened.is_empty() {
        String::new()
    } else {
        format!(", approved: {}", widened.join(", "))
    };
    format!(
        "release {} of branch {:?}, revision {}{approved}",
        release.seq, release.branch, release.revision
    )
}
