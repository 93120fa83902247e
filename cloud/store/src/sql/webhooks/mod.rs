//! Webhooks: configuration, deliveries and attempts.
//!
//! A transaction that writes more than one row of a webhook's deliveries locks the row of its queue first, so
//! that transactions never deadlock.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use iottly_protocol::{DeviceId, ProjectId};

use super::{Backend, db, senders};
use crate::Result;
use crate::pending_webhooks::PendingWebhooks;
use crate::webhooks::{ClaimQuery, DeliveryResult, WebhookStore, WebhookTotals, WorkerId};
use iottly_core::history::Sender;
use iottly_core::model::{UnixMs, WebhookAttempt, WebhookKey, WebhookState};
use iottly_core::webhooks::Claim;

mod attempts;
mod claim;
pub(super) mod config;
mod outbox;
pub(super) mod replay;
mod settle;
mod upkeep;

pub(super) use outbox::{Enqueued, enqueue};

/// Prefix of the reason of a failure whose message was not matched with the webhook's filter; a replay
/// matches it.
const NOT_MATCHED: &str = iottly_core::webhooks::NOT_MATCHED;

/// Number of ids in a list of a statement; shorter lists repeat the last one. Few distinct statements keep
/// the cache of prepared statements effective.
const IDS: usize = 64;
/// Rows of the multi-row insert.
const ROWS: usize = 32;

/// Returns `count` parameters starting with `$first`, separated by commas.
fn parameters(first: usize, count: usize) -> String {
    (first..first + count)
        .map(|number| format!("${number}"))
        .collect::<Vec<_>>()
        .join(",")
}

/// Locks the row of a queue; none when the webhook and its deliveries are gone.
static LOCK_QUEUE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT waiting, logged FROM webhook_queues WHERE project = $1 AND hook = $2{}",
        db::FOR_UPDATE
    )
});

#[async_trait]
impl WebhookStore for Backend {
    async fn webhooks(&self, project: ProjectId) -> Result<Vec<WebhookState>> {
        config::all(&self.readers, project).await
    }

    async fn webhook(&self, key: WebhookKey) -> Result<Option<WebhookState>> {
        config::one(&self.readers, key).await
    }

    async fn webhook_attempts(
        &self,
        key: WebhookKey,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<WebhookAttempt>> {
        attempts::newest(&self.readers, key, before, limit).await
    }

    fn pending_webhooks(&self) -> Arc<PendingWebhooks> {
        Arc::clone(&self.webhook_cache.pending)
    }

    async fn due_webhooks(&self, now: UnixMs, limit: usize) -> Result<Vec<WebhookState>> {
        config::due(&self.readers, now, limit).await
    }

    async fn claim(&self, query: &ClaimQuery) -> Result<Vec<Claim>> {
        let claimed = claim::claim(&mut *self.write().await?, query).await?;
        claim::with_bodies(&self.readers, query.key, claimed).await
    }

    async fn senders(
        &self,
        project: ProjectId,
        devices: &BTreeSet<DeviceId>,
    ) -> Result<HashMap<DeviceId, Sender>> {
        senders::of(&mut *self.readers.acquire().await?, project, devices).await
    }

    async fn settle(&self, worker: WorkerId, results: &[DeliveryResult]) -> Result<()> {
        settle::settle(&mut *self.write().await?, worker, results).await
    }

    async fn release(&self, worker: WorkerId, now: UnixMs) -> Result<u64> {
        claim::release(&mut *self.write().await?, worker, now).await
    }

    async fn webhook_totals(&self) -> Result<WebhookTotals> {
        upkeep::totals(&self.readers).await
    }

    async fn tidy_webhooks(&self, now: UnixMs, limit: usize) -> Result<u64> {
        upkeep::tidy(&mut *self.write().await?, now, limit).await
    }
}
