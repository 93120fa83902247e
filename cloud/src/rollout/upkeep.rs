//! Maintenance of all projects' repositories, in a task separate from the executor so that rollouts never
//! wait for it.

use std::ops::Bound;
use std::time::Duration;

use iottly_protocol::ProjectId;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::executor::{Chores, StepError};
use super::{FlashError, Rollouts};
use crate::clock;
use iottly_core::model::{Change, Principal};

/// Interval of maintenance.
const EVERY: Duration = Duration::from_secs(10);
/// Number of projects per round; the others follow in later rounds.
const PROJECTS: usize = 10;
/// Maximum time that the deletion of a project waits for the withdrawal of its rollouts.
const WITHDRAW_WITHIN: Duration = Duration::from_secs(3);
/// Interval at which timestamps are signed.
const REFRESH: Duration = Duration::from_secs(3600);

impl Rollouts {
    /// Runs until aborted: re-signs timestamps and deletes old releases, files and rollouts, some projects
    /// per round.
    pub(super) async fn keep_up(&self) {
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut refreshed, mut last) = (None::<Instant>, None);
        loop {
            tick.tick().await;
            if refreshed.is_none_or(|at| at.elapsed() >= REFRESH) {
                refreshed = Some(Instant::now());
                if let Err(error) = self
                    .with_repositories(|repositories, now| repositories.refresh(now))
                    .await
                {
                    tracing::error!(%error, "failed to sign the timestamps of a repository; retrying in an hour");
                }
            }
            match self.next_projects(last).await {
                Ok(projects) => {
                    last = projects.last().copied();
                    self.tidy_all(projects).await;
                }
                Err(error) => tracing::error!(%error, "failed to list the repositories; retrying in 10 s"),
            }
        }
    }

    /// Cancels the active rollouts of a project that is about to be deleted, and notifies its devices as far
    /// as possible in a short time. A device that is not notified can no longer fetch the release.
    pub async fn withdraw_all(&self, by: &Principal) {
        let withdraw = async {
            for (project, id) in self.store.active_rollouts().await? {
                if project == by.project {
                    self.store
                        .change(project, by, Change::CancelRollout(id), clock::now())
                        .await?;
                    self.step(project, id, 0, Chores::default()).await?;
                }
            }
            Ok::<_, StepError>(())
        };
        match tokio::time::timeout(WITHDRAW_WITHIN, withdraw).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(project.id = %by.project, %error, "failed to withdraw a rollout; deleting the project anyway")
            }
            Err(_) => {
                tracing::warn!(project.id = %by.project, "failed to withdraw all rollouts in time; deleting the project anyway")
            }
        }
    }

    /// Returns the projects that follow `last`, restarting with the first after the end.
    async fn next_projects(&self, last: Option<ProjectId>) -> Result<Vec<ProjectId>, FlashError> {
        let all = self
            .with_repositories(|repositories, _| repositories.projects())
            .await?;
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(all
            .range((from, Bound::Unbounded))
            .take(PROJECTS)
            .copied()
            .collect())
    }

    async fn tidy_all(&self, projects: Vec<ProjectId>) {
        for project in projects {
            if let Err(error) = self.tidy(project).await {
                tracing::warn!(project.id = %project, %error, "failed to delete old releases of a project; retrying later");
            }
        }
    }
}
