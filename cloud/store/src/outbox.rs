use std::sync::Arc;

use crate::fresh::Fresh;
use iottly_core::webhooks::matching::MatcherCache;

/// What a store keeps in memory for webhooks.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) hooks: MatcherCache,
    pub(super) fresh: Arc<Fresh>,
}
