//! Rollouts, their devices, and the steady clock. Stores decisions and makes none.

use async_trait::async_trait;
use iottly_protocol::{DeviceId, GroupId, ProjectId};
use serde_json::value::RawValue;

use crate::error::Result;
use iottly_core::model::{KnownFacts, Rollout, RolloutId, RolloutMember, RolloutStep, Scope, UnixMs};
use iottly_core::rollout::{Alike, Place};

/// Store operations for rollouts, their devices, and the steady clock.
#[async_trait]
pub trait RolloutStore: Send + Sync + 'static {
    /// Returns the newest rollouts of a project, or of one of its groups, at most `limit`.
    async fn rollouts(
        &self,
        project: ProjectId,
        group: Option<GroupId>,
        limit: usize,
    ) -> Result<Vec<Rollout>>;
    /// Returns one rollout.
    async fn rollout(&self, project: ProjectId, id: RolloutId) -> Result<Option<Rollout>>;
    /// Returns the active rollouts of all projects, a project's oldest first. For the cloud's own executor.
    async fn active_rollouts(&self) -> Result<Vec<(ProjectId, RolloutId)>>;
    /// Returns the devices that a rollout has notified, in whichever group they are now, and the devices of
    /// its group, by id, with what decides on them: texts and times that only people read are left empty, and the states
    /// of an update unless it was rejected.
    async fn rollout_members(&self, project: ProjectId, rollout: &Rollout) -> Result<Vec<RolloutMember>>;
    /// Returns the first `limit` of these devices at a place, or of all, behind an id, by id, with all that is known.
    async fn rollout_page(
        &self,
        project: ProjectId,
        rollout: &Rollout,
        place: Option<Place>,
        after: Option<DeviceId>,
        limit: usize,
    ) -> Result<Vec<RolloutMember>>;
    /// Returns the first `limit` of these devices that have not gone as planned, or have reported a reason, by id.
    async fn rollout_exceptions(
        &self,
        project: ProjectId,
        rollout: &Rollout,
        limit: usize,
    ) -> Result<Vec<RolloutMember>>;
    /// Returns these devices, counted: those that are alike together, in parts of `part` devices in the order of their ids;
    /// without it in one part.
    async fn rollout_counts(
        &self,
        project: ProjectId,
        rollout: &Rollout,
        part: Option<u64>,
    ) -> Result<Vec<Alike>>;
    /// Saves a step of a rollout. Returns false, without writing, when the step was decided on another
    /// version.
    async fn save_rollout_step(&self, project: ProjectId, step: &RolloutStep, now: UnixMs) -> Result<bool>;
    /// Returns the newest directive to a device that the device may still have to follow.
    async fn open_directive(&self, scope: Scope) -> Result<Option<Box<RawValue>>>;
    /// Records the highest counter of a directive that a device has accepted.
    async fn raise_counter(&self, scope: Scope, counter: u64) -> Result<()>;
    /// Records `at`, a time of the steady clock, for the reports of a rollout's devices that the executor had
    /// not noticed yet.
    async fn note_heard(&self, project: ProjectId, rollout: RolloutId, at: u64) -> Result<()>;
    /// Returns the time of the steady clock in milliseconds; none before its first start.
    async fn steady_clock(&self) -> Result<Option<u64>>;
    /// Advances the steady clock to `at`, in milliseconds; returns its time.
    async fn advance_clock(&self, at: u64) -> Result<u64>;
    /// Deletes at most `limit` rollouts that ended long ago, and releases that nothing refers to. Returns
    /// their number.
    async fn tidy_rollouts(&self, project: ProjectId, limit: usize) -> Result<u64>;
    /// Returns the facts that decide which releases the devices of a group accept, of the first `limit` devices behind
    /// an id, by id.
    async fn device_facts(
        &self,
        project: ProjectId,
        group: GroupId,
        after: Option<DeviceId>,
        limit: usize,
    ) -> Result<Vec<KnownFacts>>;
}
