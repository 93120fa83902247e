use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::mailbox::UpdateMailbox;

/// Where the link puts directives, and learns which one was accepted last.
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

    /// Hands a document over without waiting, in the place of one that nobody has looked at; false when
    /// nobody will.
    pub(crate) fn put(&self, document: Vec<u8>) -> bool {
        self.mailbox.directive(document)
    }

    /// The highest counter that was accepted.
    pub(crate) fn counter(&self) -> u64 {
        self.counter.load(Ordering::Acquire)
    }

    pub(super) fn accepted(&self, counter: u64) {
        self.counter.store(counter, Ordering::Release);
    }
}
