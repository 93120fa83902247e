//! Totals of the commands that wait for the devices of a project, counted by the store from time to time.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use iottly_protocol::ProjectId;
use tokio::time::Instant;

use iottly_core::command::{MAX_PROJECT_BYTES, MAX_PROJECT_COMMANDS};
use iottly_store::{CommandStore, OpenTotals, Result};

/// Age up to which a count is used. Commands added meanwhile are added to it; commands that end are not
/// subtracted.
const AGE: Duration = Duration::from_secs(10);
/// Maximum number of projects whose counts are remembered.
const PROJECTS: usize = 10_000;

/// Remembered counts of projects.
#[derive(Default)]
pub(super) struct Totals(Mutex<HashMap<ProjectId, (Instant, OpenTotals)>>);

impl Totals {
    /// Counts one more command with `bytes` of values. Returns false if the project has no room for it.
    pub(super) async fn take(
        &self,
        store: &dyn CommandStore,
        project: ProjectId,
        bytes: u64,
    ) -> Result<bool> {
        if let Some(fits) = self.add(project, bytes, Instant::now()) {
            return Ok(fits);
        }
        let (counted, now) = (store.open_totals(project).await?, Instant::now());
        self.learn(project, counted, now);
        Ok(self.add(project, bytes, now).unwrap_or(true))
    }

    fn add(&self, project: ProjectId, bytes: u64, now: Instant) -> Option<bool> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, totals) = counts.get_mut(&project)?;
        if now.saturating_duration_since(*since) >= AGE {
            return None;
        }
        let fits =
            totals.commands < MAX_PROJECT_COMMANDS && totals.bytes.saturating_add(bytes) <= MAX_PROJECT_BYTES;
        if fits {
            totals.commands += 1;
            totals.bytes += bytes;
        }
        Some(fits)
    }

    fn learn(&self, project: ProjectId, counted: OpenTotals, now: Instant) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= PROJECTS {
            counts.retain(|_, (since, _)| now.saturating_duration_since(*since) < AGE);
            if counts.len() >= PROJECTS {
                counts.clear();
            }
        }
        counts.insert(project, (now, counted));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_has_its_room_and_counts_are_not_believed_for_ever() {
        let (totals, now, project) = (Totals::default(), Instant::now(), ProjectId::from_bytes([1; 12]));
        assert_eq!(totals.add(project, 1, now), None, "not counted yet");
        totals.learn(
            project,
            OpenTotals {
                commands: MAX_PROJECT_COMMANDS - 2,
                bytes: MAX_PROJECT_BYTES - 5,
            },
            now,
        );
        assert_eq!(totals.add(project, 6, now), Some(false));
        assert_eq!(totals.add(project, 1, now), Some(true));
        assert_eq!(totals.add(project, 1, now), Some(true));
        assert_eq!(totals.add(project, 1, now), Some(false));
        assert_eq!(totals.add(project, 1, now + AGE), None);
    }
}
