//! The way from a group's branch to a rollout: build, check the capabilities, sign, start.

use std::collections::BTreeSet;
use std::sync::Arc;

use iottly_protocol::release::{Action, DeviceFacts, HealthRules, Release};
use iottly_protocol::tuf::Instant;
use iottly_protocol::{DeviceId, GroupId, ProjectId};
use tracing::Instrument;

use super::Rollouts;
use super::component::{Made, Wanted};
use super::flash_request::{FlashError, FlashRequest, Flashed};
use super::send::directive;
use crate::clock;
use crate::releases::{NewRelease, OfferedEngine};
use iottly_core::model::{
    BranchCode, Change, Group, KnownFacts, NewRollout, Principal, Revision, Rollout, RolloutId, RolloutKind,
    StoredRelease,
};
use iottly_core::model::{Policy, RolloutIntent, RolloutProgress, RolloutStatus};
use iottly_core::rollout::seconds;
use iottly_core::rollout::{Preflight, preflight};

/// Maximum bytes that a release adds to metadata and chunk lists.
const METADATA_BYTES: u64 = 64 << 10;
/// Number of releases after which a project's old ones are checked for deletion.
const TIDY_EVERY: u64 = 16;
/// Number of devices whose facts are in memory at the same time.
const FACTS: usize = 1000;

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
        let (revision, code) = self.revision(project, group, request.revision).await?;
        if self.builder.is_none() {
            return Err(FlashError::NoBuilder);
        }
        let wanted = self.wanted(project, &revision, code).await?;
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
        if let Some(engine) = self.engine_to_bring(project, rollout.group, &drafted).await? {
            new.engine = Some(engine);
            drafted = self.drafted(last, &new).await?;
            again = None;
        }
        let preflight = self.look_ahead(project, &rollout, &drafted).await?;
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

    async fn revision(
        &self,
        project: ProjectId,
        group: &Group,
        number: Option<u64>,
    ) -> Result<(Revision, BranchCode), FlashError> {
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
    pub(super) async fn drafted(&self, last: u64, new: &NewRelease) -> Result<Release, FlashError> {
        let new = new.clone();
        Ok(self
            .with_repositories(move |repositories, now| repositories.draft(last, &new, now))
            .await?)
    }

    /// Returns this cloud's script engine if it runs the release and a device needs it: the device runs scripts, but has
    /// no engine that fits.
    async fn engine_to_bring(
        &self,
        project: ProjectId,
        group: GroupId,
        release: &Release,
    ) -> Result<Option<OfferedEngine>, FlashError> {
        let engine = self.builder.as_ref().and_then(|builder| builder.engine.as_ref());
        let (Some(need), Some(engine)) = (&release.manifest.engine, engine) else {
            return Ok(None);
        };
        let lacks = |facts: &DeviceFacts| {
            !facts.engines.is_empty() && !facts.engines.iter().any(|engine| need.fits(engine))
        };
        let mut after = None;
        loop {
            let page = self.facts(project, group, after).await?;
            after = page.last().map(|known| known.device);
            if page.iter().filter_map(|known| known.facts.as_ref()).any(lacks) {
                return Ok(Some(engine.clone()));
            }
            if page.len() < FACTS {
                return Ok(None);
            }
        }
    }

    /// Returns what the devices of a group have reported about themselves, of the next devices behind an id.
    async fn facts(
        &self,
        project: ProjectId,
        group: GroupId,
        after: Option<DeviceId>,
    ) -> Result<Vec<KnownFacts>, FlashError> {
        Ok(self.store.device_facts(project, group, after, FACTS).await?)
    }

    /// Returns which devices of a rollout's group would accept a release.
    pub(super) async fn look_ahead(
        &self,
        project: ProjectId,
        rollout: &Rollout,
        release: &Release,
    ) -> Result<Preflight, FlashError> {
        let now = Instant::from_unix(seconds(clock::now()));
        let make = |device, counter| {
            directive(project, rollout, &release.path, device, (Action::Install, false))
                .complete(release, counter, now)
        };
        let (mut found, mut after) = (Preflight::default(), None);
        loop {
            let page = self.facts(project, rollout.group, after).await?;
            after = page.last().map(|known| known.device);
            found.add(preflight(project, release, &page, now, make));
            if page.len() < FACTS {
                return Ok(found);
            }
        }
    }

    pub(super) async fn publish_release(
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
        let needed = self.store.needed_releases(project).await?;
        let added = self
            .with_repositories(move |repositories, now| repositories.add(project, last, &needed, &new, now))
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

    pub(super) async fn start(
        &self,
        by: &Principal,
        rollout: &Rollout,
        note: String,
    ) -> Result<RolloutId, FlashError> {
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

pub(super) fn new_release(revision: &Revision, made: &Made, grace_ms: u64) -> NewRelease {
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

pub(super) fn draft(
    group: GroupId,
    kind: RolloutKind,
    policy: Policy,
    approved: Vec<String>,
    force: bool,
) -> Rollout {
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

pub(super) fn stored(
    release: &Release,
    revision: &Revision,
    source: String,
    by: &Principal,
) -> StoredRelease {
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
pub(super) fn note(release: &StoredRelease, widened: &[String]) -> String {
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
