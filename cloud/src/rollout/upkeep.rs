//! Upkeep of all projects' repositories, in a task apart from the rollouts, so that these wait for nothing.

use std::ops::Bound;
use std::time::Duration;

use iottly_protocol::ProjectId;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::executor::StepError;
use super::{FlashError, Rollouts};
use crate::clock;
use iottly_core::model::{Change, Principal};

/// Time between two looks at some of the projects.
const EVERY: Duration = Duration::from_secs(10);
/// Projects that are looked at each time; the others have their turn later.
const PROJECTS: usize = 10;
/// Longest time that the deletion of a project waits for its rollouts' withdrawal.
const WITHDRAW_WITHIN: Duration = Duration::from_secs(3);
/// Time between two looks at the timestamps.
const REFRESH: Duration = Duration::from_secs(3600);

impl Rollouts {
    /// Runs until it is aborted: signs timestamps anew, and forgets old releases, files and rollouts, some
    /// projects at a time.
    pub(super) async fn keep_up(&self) {
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut refreshed, mut last) = (None::<Instant>, None);
        loop {
            tick.tick().await;
            if refreshed.is_none_or(|at| at.elapsed() >= REFRESH) {
                refreshed = Some(Instant::now());
                if let Err(error) = self.on_shelf(|shelf, now| shelf.refresh(now)).await {
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

    /// Gives up what is being deployed in a project that is about to be deleted, and tells its devices, as
    /// far as that is possible in a short time: a device that hears nothing cannot fetch the release any
    /// more.
    pub async fn withdraw_all(&self, by: &Principal) {
        let withdraw = async {
            for (project, id) in self.store.active_rollouts().await? {
                if project == by.project {
                    self.store
                        .change(project, by, Change::CancelRollout(id), clock::now())
                        .await?;
                    self.step(project, id, 0, false).await?;
                }
            }
            Ok::<_, StepError>(())
        };
        match tokio::time::timeout(WITHDRAW_WITHIN, withdraw).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(project = %by.project, %error, "failed to withdraw a rollout; the project is deleted")
            }
            Err(_) => {
                tracing::warn!(project = %by.project, "rollouts were not withdrawn in time; the project is deleted")
            }
        }
    }

    /// The projects that follow on `last`; from the first again behind the end.
    async fn next_projects(&self, last: Option<ProjectId>) -> Result<Vec<ProjectId>, FlashError> {
        let all = self.on_shelf(|shelf, _| shelf.projects()).await?;
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
                tracing::warn!(%project, %error, "failed to tidy a project's releases; they are looked at again later");
            }
        }
    }
}
