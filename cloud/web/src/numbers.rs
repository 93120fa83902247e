//! Numbers of a project that its overview shows, read once for all pages that show them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use iottly_cloud::Services;
use iottly_core::model::RolloutStatus;
use iottly_protocol::ProjectId;
use serde::Serialize;

/// Shortest time for which numbers are kept.
const KEPT: Duration = Duration::from_secs(1);
/// Time for which numbers are kept, as a multiple of the time that reading them took: however many devices there are,
/// reading takes at most a twentieth of a core for each project that is looked at.
const REST: u32 = 20;
/// Maximum number of projects whose numbers are kept.
const MAX_PROJECTS: usize = 256;

/// Numbers of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Numbers {
    /// All devices.
    pub(crate) total: usize,
    /// Connected devices, silent ones among them.
    pub(crate) online: usize,
    /// Connected devices that have sent nothing for long.
    pub(crate) silent: usize,
    /// Devices without a connection that is not planned.
    pub(crate) offline: usize,
    /// Devices without a connection, as planned.
    pub(crate) absent: usize,
    /// Groups with a running rollout.
    pub(crate) rollouts: usize,
    /// Boards that wait for approval.
    pub(crate) boards: usize,
    /// Webhooks whose deliveries fail.
    pub(crate) failing: usize,
    /// Raised alerts.
    pub(crate) raised: usize,
}

/// Numbers of projects that are looked at.
#[derive(Debug, Default)]
pub(crate) struct ProjectNumbers(Mutex<HashMap<ProjectId, (Numbers, Instant)>>);

impl ProjectNumbers {
    /// Returns the numbers of a project, at most a second old unless reading them takes long.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn of(&self, services: &Services, project: ProjectId) -> iottly_store::Result<Numbers> {
        let began = Instant::now();
        if let Some((numbers, until)) = self.lock().get(&project)
            && began < *until
        {
            return Ok(*numbers);
        }
        let counts = services.presence.counts(project).await?;
        let attention = services.store.attention(project).await?;
        let groups = services.store.groups(project).await?;
        let numbers = Numbers {
            total: counts.total,
            online: counts.online + counts.silent,
            silent: counts.silent,
            offline: counts.offline,
            absent: counts.absent,
            rollouts: groups
                .iter()
                .filter(|group| group.status == Some(RolloutStatus::Deploying))
                .count(),
            boards: services.enrolment.waiting(project).len(),
            failing: attention.failing_webhooks,
            raised: attention.raised_alerts,
        };
        let now = Instant::now();
        let until = now + KEPT.max((now - began) * REST);
        let mut known = self.lock();
        if known.len() >= MAX_PROJECTS {
            known.retain(|_, (_, until)| now < *until);
        }
        if known.len() < MAX_PROJECTS {
            known.insert(project, (numbers, until));
        }
        Ok(numbers)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ProjectId, (Numbers, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
