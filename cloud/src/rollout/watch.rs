//! Waiting for the progress of a rollout. Decides nothing; the rows are the truth, an event only says when to
//! read them.

use std::time::Duration;

use iottly_protocol::ProjectId;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Rollouts;
use iottly_core::model::{Rollout, RolloutId};
use iottly_core::rollout::{Alike, Places, mark, next_if_resumed};
use iottly_store::StoreError;

/// Number of events that a slow reader may lag behind; then it reads the rows without them.
const EVENTS: usize = 256;
/// Time for which reports of devices are collected before a waiting caller hears of them. The end of a rollout
/// is not collected.
const COLLECT: Duration = Duration::from_millis(100);
/// Pause between two readings, as a multiple of the time that one took: with very many devices a waiting caller uses at most a
/// quarter of a core.
const REST: u32 = 3;
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
    /// Numbers of its devices at each place.
    pub places: Places,
    /// Number of its devices that have not gone as planned, or have reported a reason.
    pub exceptions: u64,
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
        let deadline = began + patience;
        loop {
            let reading = Instant::now();
            let Some(watched) = self.watched(project, id).await? else {
                return Ok(None);
            };
            let collect = COLLECT.max(reading.elapsed() * REST);
            let news = seen != Some(watched.mark.as_str());
            let (now, collected) = (Instant::now(), began + collect);
            let over = !watched.rollout.active;
            if seen.is_none() || now >= deadline || (news && (over || now >= collected)) {
                return Ok(Some(watched));
            }
            if news {
                wait(&mut feed, project, collected, collected.min(deadline)).await;
            } else {
                wait(
                    &mut feed,
                    project,
                    now + collect,
                    deadline.min(now + REREAD.max(collect)),
                )
                .await;
            }
        }
    }

    async fn watched(&self, project: ProjectId, id: RolloutId) -> Result<Option<Watched>, StoreError> {
        let Some(rollout) = self.store.rollout(project, id).await? else {
            return Ok(None);
        };
        let devices = self.store.rollout_counts(project, &rollout, None).await?;
        let mark = mark(&rollout, &devices);
        Ok(Some(Watched {
            rollout,
            mark,
            places: Places::of(&devices),
            exceptions: exceptions(&devices),
        }))
    }

    /// Returns the number of devices that get the release next if a rollout is resumed now.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn next_if_resumed(&self, project: ProjectId, rollout: &Rollout) -> Result<usize, StoreError> {
        let release = self.store.one_release(project, rollout.release).await?;
        let size = release.map_or(0, |release| release.size);
        let members = self.store.rollout_members(project, rollout).await?;
        let now = self.store.steady_clock().await?.unwrap_or(0) / 1000;
        Ok(next_if_resumed(rollout, members, size, now))
    }
}

fn exceptions(devices: &[Alike]) -> u64 {
    let alike = devices.iter().filter(|alike| alike.is_exception());
    alike.map(|alike| alike.count).sum()
}

/// Waits for a step of a project, or for reports but then not before `collected`; at most until `until`.
async fn wait(feed: &mut Receiver<News>, project: ProjectId, collected: Instant, mut until: Instant) {
    while Instant::now() < until {
        match timeout_at(until, feed.recv()).await {
            Err(_) => return,
            Ok(Ok(news)) => until = end_after(Some(news), project, Instant::now(), collected, until),
            Ok(Err(RecvError::Lagged(_))) => {
                until = end_after(None, project, Instant::now(), collected, until)
            }
            // The cloud is stopping; no event comes any more.
            Ok(Err(RecvError::Closed)) => sleep_until(until).await,
        }
    }
}

/// Returns the end of a wait after an event; missed events count as reports. Pure.
fn end_after(
    news: Option<News>,
    project: ProjectId,
    now: Instant,
    collected: Instant,
    until: Instant,
) -> Instant {
    match news {
        Some(News::Step(of)) if of == project => now,
        Some(News::Reports(of)) if of == project => until.min(collected),
        Some(_) => until,
        None => until.min(collected),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_ends_the_wait_reports_are_collected_and_those_of_others_do_not_count() {
        let (ours, other) = (ProjectId::from_bytes([1; 12]), ProjectId::from_bytes([2; 12]));
        let now = Instant::now();
        let (collected, until) = (now + COLLECT, now + Duration::from_secs(60));
        let after = |news| end_after(news, ours, now, collected, until);
        assert_eq!(after(Some(News::Step(ours))), now);
        assert_eq!(after(Some(News::Reports(ours))), collected);
        assert_eq!(after(None), collected, "some were missed");
        assert_eq!(after(Some(News::Step(other))), until);
        assert_eq!(after(Some(News::Reports(other))), until);
        let late = end_after(Some(News::Reports(ours)), ours, now, until, collected);
        assert_eq!(late, collected, "a report never makes the wait longer");
    }
}
