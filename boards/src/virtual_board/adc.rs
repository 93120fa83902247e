//! Analog inputs of the virtual board.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use super::claim::{Claim, Owner};
use crate::{AnalogInput, AnalogPort, BoardError};

#[derive(Clone)]
pub(super) struct Channel {
    microvolts: Arc<AtomicI32>,
    owner: Owner,
}

impl Channel {
    pub(super) fn new(microvolts: i32) -> Self {
        Self {
            microvolts: Arc::new(AtomicI32::new(microvolts)),
            owner: Owner::default(),
        }
    }

    pub(super) fn microvolts(&self) -> i32 {
        self.microvolts.load(Ordering::Acquire)
    }

    pub(super) fn set(&self, microvolts: i32) {
        self.microvolts.store(microvolts, Ordering::Release);
    }

    pub(super) fn open(&self, label: &str) -> Result<AnalogPort, BoardError> {
        let claim = self.owner.claim(label)?;
        Ok(Box::new(Open {
            microvolts: Arc::clone(&self.microvolts),
            _claim: claim,
        }))
    }
}

struct Open {
    microvolts: Arc<AtomicI32>,
    _claim: Claim,
}

impl AnalogInput for Open {
    fn read_microvolts(&mut self) -> Result<i32, BoardError> {
        Ok(self.microvolts.load(Ordering::Acquire))
    }
}
