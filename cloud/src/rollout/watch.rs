//! Waiting for the progress of a rollout. Decides nothing; the rows are the truth, an event only says when to
//! read them.

use std::time::Duration;

use iottly_protocol::ProjectId;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender};
use tokio::time::{Instant, timeout_at};

use super::Rollouts;
use iottly_core::model::{Rollout, RolloutId};
use iottly_core::rollout::mark;
use iottly_store::StoreError;

/// Number of events that a slow reader may lag behind; then it reads the rows without them.
const EVENTS: usize = 256;
/// Time for which reports of devices are collected before a waiting caller hears of them. The end of a rollout
/// is not collected.
const COLLECT: Duration = Duration::from_millis(100);
/// Longest time between two readings: another cloud on the same database may have stored something.
const REREAD: Duration = Duration::from_secs(2);

/// Change of a project's rollouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    /// Devices have reported.
    Reports(ProjectId),
    /// The executor has saved a step.
    Step(ProjectId),
}

/// Events of all projects' rollouts.
#[derive(Debug)]
pub(super) struct Feed(Sender<News>);

impl Feed {
    pub(super) fn new() -> Self {
        Self(Sender::new(EVENTS))
    }

    /// Announces reports of a project's devices. An error only means that no caller waits.
    pub(super) fn reports(&self, project: ProjectId) {
        let _ = self.0.send(News::Reports(project));
    }

    /// Announces a saved step.
    pub(super) fn step(&self, project: ProjectId) {
        let _ = self.0.send(News::Step(project));
    }
}

/// A rollout and the mark of its progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// The rollout.
    pub rollout: Rollout,
    /// Mark of the progress of the rollout and its devices.
    pub mark: String,
}

impl Rollouts {
    /// Returns a rollout as soon as its mark is not `seen`, at the latest after `patience`; none if there is
    /// no such rollout. Without `seen` it returns at once.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn progress(
        &self,
        project: ProjectId,
        id: RolloutId,
        seen: Option<&str>,
        patience: Duration,
    ) -> Result<Option<Watched>, StoreError> {
        let mut feed = self.feed.0.subscribe();
        let began = Instant::now();
        let (deadline, collected) = (began + patience, began + COLLECT.min(patience));
        loop {
            let Some(watched) = self.watched(project, id).await? else {
                return Ok(None);
            };
            let news = seen != Some(watched.mark.as_str());
            let now = Instant::now();
            let over = !watched.rollout.active;
            if seen.is_none() || now >= deadline || (news && (over || now >= collected)) {
                return Ok(Some(watched));
            }
            let until = if news { collected } else { deadline };
            wait(&mut feed, project, news, until.min(now + REREAD)).await;
        }
    }

    async fn watched(&self, project: ProjectId, id: RolloutId) -> Result<Option<Watched>, StoreError> {
        let Some(rollout) = self.store.rollout(project, id).await? else {
            return Ok(None);
        };
        let members = self.store.rollout_members(project, &rollout).await?;
        let mark = mark(&rollout, &members);
        Ok(Some(Watched { rollout, mark }))
    }
}

/// Waits for an event of a project, at most until `until`. With `steps_only`, reports are passed over.
async fn wait(feed: &mut Receiver<News>, project: ProjectId, steps_only: bool, until: Instant) {
    let event = async {
        loop {
            match feed.recv().await {
                Ok(News::Step(of)) if of == project => return,
                Ok(News::Reports(of)) if of == project && !steps_only => return,
                Ok(_) => {}
                // Events were missed: read the rows.
                Err(RecvError::Lagged(_)) => return,
                // The cloud is stopping; the rest of the time is waited for without events.
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    };
    // An error is the end of the wait.
    let _ = timeout_at(until, event).await;
}
