//! Exclusive use of a part.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::BoardError;

/// Mark that a part is open.
#[derive(Clone, Default)]
pub(super) struct Owner(Arc<AtomicBool>);

/// Exclusive use of a part, until it is dropped.
pub(super) struct Claim(Arc<AtomicBool>);

impl Owner {
    pub(super) fn claim(&self, label: &str) -> Result<Claim, BoardError> {
        if self.0.swap(true, Ordering::AcqRel) {
            return Err(BoardError::InUse {
                label: label.to_owned(),
            });
        }
        Ok(Claim(Arc::clone(&self.0)))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
