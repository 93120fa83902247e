//! The way back: an earlier release of a group, signed again under a higher number and rolled out to all devices.

use std::sync::Arc;

use tracing::Instrument;

use super::Rollouts;
use super::component::Made;
use super::flash::{draft, new_release, note, stored};
use super::flash_request::{FlashError, Flashed};
use iottly_core::model::{Group, Policy, Principal, Revision, RolloutKind};

impl Rollouts {
    /// Rolls the group back to the release before its newest rollout, under a higher number, on all devices
    /// at once. A dry run only returns what would happen.
    ///
    /// # Errors
    /// [`FlashError`]; nothing was sent to any device then.
    pub async fn roll_back(
        self: &Arc<Self>,
        by: &Principal,
        group: &Group,
        dry_run: bool,
    ) -> Result<Flashed, FlashError> {
        self.spare_disk().await?;
        let turn = self.work.writes.take(by.project).await?;
        let (this, by, group) = (Arc::clone(self), by.clone(), group.clone());
        let reverting = async move {
            let _turn = turn;
            this.bring_back(&by, &group, dry_run).await
        };
        let work = tokio::spawn(reverting.in_current_span());
        work.await
            .unwrap_or_else(|error| Err(FlashError::Failed(error.to_string())))
    }

    async fn bring_back(&self, by: &Principal, group: &Group, dry_run: bool) -> Result<Flashed, FlashError> {
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
        let drafted = self.drafted(last, &new).await?;
        let preflight = self.look_ahead(project, &rollout, &drafted).await?;
        if dry_run {
            return Ok(Flashed {
                release: stored(&drafted, &revision, made.source, by),
                rollout: None,
                preflight,
            });
        }
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
            preflight,
        })
    }
}
