//! The store's operations for webhooks. Deliveries are created by the transaction that stores a message, not
//! here.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use iottly_protocol::{DeviceId, ProjectId};

use crate::error::Result;
use crate::pending_webhooks::PendingWebhooks;
use iottly_core::history::Sender;
use iottly_core::model::{MessageId, UnixMs, WebhookAttempt, WebhookKey, WebhookState};
use iottly_core::webhooks::{Claim, Health};

/// Id of a worker that claims deliveries. It belongs to the data folder, so that a new process continues with
/// the leases of the former one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerId(pub i64);

/// Query for claiming deliveries.
#[derive(Debug, Clone, Copy)]
pub struct ClaimQuery {
    /// Webhook whose deliveries are claimed.
    pub key: WebhookKey,
    /// Worker that claims.
    pub worker: WorkerId,
    /// Current time; deliveries due by then are claimed.
    pub now: UnixMs,
    /// End of the lease.
    pub until: UnixMs,
    /// Maximum number of deliveries.
    pub limit: usize,
    /// True to claim only the oldest, and only if nothing older is in progress.
    pub ordered: bool,
}

/// Disposition of a delivery after an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disposition {
    /// The delivery is deleted: it succeeded, or its message is gone.
    Done,
    /// The delivery waits for its next attempt.
    Wait {
        /// Time of the next attempt.
        due: UnixMs,
        /// Number of attempts that count.
        attempts: u32,
    },
    /// The delivery is stored as failed.
    Failed {
        /// Number of attempts made.
        attempts: u32,
        /// Result of the last attempt.
        reason: String,
    },
    /// No delivery exists, only an attempt.
    Nothing,
}

/// Result of handling a delivery.
#[derive(Debug, Clone)]
pub struct DeliveryResult {
    /// Webhook of the delivery.
    pub key: WebhookKey,
    /// Message of the delivery.
    pub message: MessageId,
    /// Device of the message; none for a test.
    pub device: Option<DeviceId>,
    /// Timestamp of the message.
    pub timestamp: UnixMs,
    /// Disposition of the delivery.
    pub disposition: Disposition,
    /// Attempt to log; the store assigns its number.
    pub attempt: Option<WebhookAttempt>,
    /// State of the receiver; the last one of a batch counts.
    pub health: Option<Health>,
    /// True if the webhook may only continue after this is stored; its next deliveries are announced then.
    pub announce: bool,
}

/// Totals of all webhooks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WebhookTotals {
    /// Number of deliveries that wait or are in progress.
    pub waiting: u64,
    /// Number of webhooks whose circuit breaker is open.
    pub open: u64,
    /// Timestamp of the oldest waiting message.
    pub oldest: Option<UnixMs>,
}

/// The store's operations for webhooks.
#[async_trait]
pub trait WebhookStore: Send + Sync + 'static {
    /// Returns the webhooks of a project, oldest first.
    async fn webhooks(&self, project: ProjectId) -> Result<Vec<WebhookState>>;
    /// Returns one webhook.
    async fn webhook(&self, key: WebhookKey) -> Result<Option<WebhookState>>;
    /// Returns attempts in a webhook's log with numbers below `before`, newest first, at most `limit`.
    async fn webhook_attempts(
        &self,
        key: WebhookKey,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<WebhookAttempt>>;

    /// Returns the channel that announces webhooks with new deliveries, after their commit.
    fn pending_webhooks(&self) -> Arc<PendingWebhooks>;
    /// Returns the enabled webhooks of all projects that have a delivery due, at most `limit`. For the
    /// worker.
    async fn due_webhooks(&self, now: UnixMs, limit: usize) -> Result<Vec<WebhookState>>;
    /// Claims deliveries of an enabled webhook, in the order of their ids. No other worker gets them until
    /// the lease ends.
    async fn claim(&self, query: &ClaimQuery) -> Result<Vec<Claim>>;
    /// Returns what filters over messages may ask of some devices, of those that the project has.
    async fn senders(
        &self,
        project: ProjectId,
        devices: &BTreeSet<DeviceId>,
    ) -> Result<HashMap<DeviceId, Sender>>;
    /// Stores the results of deliveries that `worker` has claimed, in one transaction. A delivery that
    /// another worker has claimed meanwhile stays; its attempt is logged.
    async fn settle(&self, worker: WorkerId, results: &[DeliveryResult]) -> Result<()>;
    /// Ends all leases of a worker. For its start.
    async fn release(&self, worker: WorkerId, now: UnixMs) -> Result<u64>;

    /// Returns the totals of all webhooks.
    async fn webhook_totals(&self) -> Result<WebhookTotals>;
    /// Deletes some old and surplus rows, and some rows of deleted webhooks, at most about `limit` of each.
    /// Returns their number.
    async fn tidy_webhooks(&self, now: UnixMs, limit: usize) -> Result<u64>;
}
