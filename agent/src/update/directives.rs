//! The link's access to the update: hands directives over and reads the accepted counter.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use iottly_protocol::SignedOrder;

use super::mailbox::UpdateMailbox;
use super::orders::Received;

/// Handle for directives from the cloud; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Directives {
    mailbox: UpdateMailbox,
    counter: Arc<AtomicU64>,
}

impl Directives {
    pub(super) fn new(mailbox: UpdateMailbox) -> Self {
        Self {
            mailbox,
            counter: Arc::default(),
        }
    }

    /// Hands a document over without waiting, replacing one that has not been considered yet. Returns `false`
    /// if the update's thread is stopping.
    pub(crate) fn put(&self, document: Vec<u8>) -> bool {
        self.mailbox.directive(document)
    }

    /// Hands a developer order over without waiting, replacing one that has not been considered yet. Returns
    /// `false` if the update's thread is stopping.
    pub(crate) fn put_order(&self, order: SignedOrder) -> bool {
        self.mailbox.order(Received {
            order,
            at: Instant::now(),
        })
    }

    /// Notes that the date became known or turned out to be wrong: directives that were refused by their
    /// dates are considered again.
    pub(crate) fn time_revised(&self) {
        self.mailbox.time_revised();
    }

    /// Notes that the cloud has announced a root of the project's releases.
    pub(crate) fn root_announced(&self, version: u64) {
        self.mailbox.root(version);
    }

    /// Returns the highest counter that was accepted.
    pub(crate) fn counter(&self) -> u64 {
        self.counter.load(Ordering::Acquire)
    }

    pub(super) fn accepted(&self, counter: u64) {
        self.counter.store(counter, Ordering::Release);
    }
}
