//! What the store does for webhooks. Deliveries are written by whatever stores a message, in its transaction.

use std::sync::Arc;

use async_trait::async_trait;
use iottly_protocol::{DeviceId, ProjectId};

use super::Result;
use crate::fresh::Fresh;
use iottly_core::model::{HookAttempt, HookKey, HookState, MessageId, UnixMs};
use iottly_core::webhooks::{Claim, Health};

/// Who claims deliveries: one number for a data folder, so that a new process finds the leases of the one
/// before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerId(pub i64);

/// What to claim.
#[derive(Debug, Clone, Copy)]
pub struct ClaimQuery {
    /// Of which webhook.
    pub key: HookKey,
    /// For whom.
    pub worker: WorkerId,
    /// Deliveries that are due by now.
    pub now: UnixMs,
    /// When the lease ends.
    pub until: UnixMs,
    /// Most deliveries.
    pub limit: usize,
    /// Only the oldest, and only when nothing older is on its way.
    pub ordered: bool,
}

/// What becomes of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// It goes: it was delivered, or its message is gone.
    Done,
    /// It waits until then, after so many attempts.
    Wait {
        /// Until when.
        due: UnixMs,
        /// Attempts that count.
        attempts: u32,
    },
    /// It is kept as failed.
    Failed {
        /// Attempts that were made.
        attempts: u32,
        /// What the last one ended with.
        reason: String,
    },
    /// There is no delivery, only an attempt.
    Nothing,
}

/// What a worker has to say about a delivery.
#[derive(Debug, Clone)]
pub struct Settled {
    /// The webhook.
    pub key: HookKey,
    /// The message.
    pub message: MessageId,
    /// Whose message it is; none for a test.
    pub device: Option<DeviceId>,
    /// The message's timestamp.
    pub timestamp: UnixMs,
    /// What becomes of the delivery.
    pub then: Then,
    /// For the log; its number is given by the store.
    pub attempt: Option<HookAttempt>,
    /// How the receiver is doing; the last word of a batch counts.
    pub health: Option<Health>,
    /// Whether the webhook may go on only when this is recorded: its next deliveries are announced then.
    pub announce: bool,
}

/// All webhooks in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HookTotals {
    /// Deliveries that wait or are on their way.
    pub waiting: u64,
    /// Webhooks whose circuit breaker is open.
    pub open: u64,
    /// Timestamp of the oldest message that waits.
    pub oldest: Option<UnixMs>,
}

/// The part of the database that webhooks use.
#[async_trait]
pub trait WebhookStore: Send + Sync + 'static {
    /// The webhooks of a project, the oldest first.
    async fn webhooks(&self, project: ProjectId) -> Result<Vec<HookState>>;
    /// One webhook.
    async fn webhook(&self, key: HookKey) -> Result<Option<HookState>>;
    /// Attempts in a webhook's log with smaller numbers than `before`, newest first, at most `limit`.
    async fn webhook_attempts(
        &self,
        key: HookKey,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<HookAttempt>>;

    /// Tells of webhooks with new deliveries, when they are committed.
    fn fresh(&self) -> Arc<Fresh>;
    /// The webhooks of all projects that send and have something due, at most `limit`; for the worker.
    async fn due_webhooks(&self, now: UnixMs, limit: usize) -> Result<Vec<HookState>>;
    /// Claims deliveries of a webhook that sends: nobody else gets them until the lease ends. In the order of
    /// their ids.
    async fn claim(&self, query: &ClaimQuery) -> Result<Vec<Claim>>;
    /// Records what came of deliveries that `worker` has claimed, in one transaction. A delivery that another
    /// has claimed meanwhile stays; its attempt is logged.
    async fn settle(&self, worker: WorkerId, settled: &[Settled]) -> Result<()>;
    /// Ends all leases of a worker; for its start.
    async fn release(&self, worker: WorkerId, now: UnixMs) -> Result<u64>;

    /// All webhooks in numbers.
    async fn webhook_totals(&self) -> Result<HookTotals>;
    /// Deletes some of what is older or more than is kept, and of webhooks that are gone, at most about
    /// `limit` rows of each; returns how many.
    async fn tidy_webhooks(&self, now: UnixMs, limit: usize) -> Result<u64>;
}
