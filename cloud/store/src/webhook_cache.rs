//! State for webhooks that a store keeps in memory; the outbox itself is in the database.

use std::sync::Arc;

use crate::pending_webhooks::PendingWebhooks;
use iottly_core::webhooks::matching::MatcherCache;

/// In-memory state for webhooks: cached matchers, and the wake-up of the worker.
#[derive(Debug, Default)]
pub(super) struct WebhookCache {
    pub(super) matchers: MatcherCache,
    pub(super) pending: Arc<PendingWebhooks>,
}
