use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;

use super::actor::Input;

/// Where the link puts directives, and learns which one was accepted last.
#[derive(Debug, Clone)]
pub(crate) struct Directives {
    inputs: SyncSender<Input>,
    counter: Arc<AtomicU64>,
}

impl Directives {
    pub(super) fn new(inputs: SyncSender<Input>) -> Self {
        Self { inputs, counter: Arc::default() }
    }

    /// Hands a document over without waiting; false when nobody takes it now.
    pub(crate) fn put(&self, document: Vec<u8>) -> bool {
        self.inputs.try_send(Input::Directive(document)).is_ok()
    }

    /// The highest counter that was accepted.
    pub(crate) fn counter(&self) -> u64 {
        self.counter.load(Ordering::Acquire)
    }

    pub(super) fn accepted(&self, counter: u64) {
        self.counter.store(counter, Ordering::Release);
    }
}
