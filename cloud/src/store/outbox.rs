use std::sync::Arc;

use crate::webhooks::Fresh;
use crate::webhooks::matching::MatcherCache;

/// In-memory state of a store for webhooks: cached matchers, and the wake-up of the worker.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) hooks: MatcherCache,
    pub(super) fresh: Arc<Fresh>,
}
