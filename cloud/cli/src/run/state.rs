//! Key-value state of firmware in a local run. Never written to disk.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use iottly_sandbox::{Fault, StateStore};

type Entries = BTreeMap<String, Vec<u8>>;

/// Key-value state that survives restarts and reloads of the firmware, but not this program.
#[derive(Debug, Clone, Default)]
pub(super) struct KeptState(Arc<Mutex<Entries>>);

/// State of one instance of the firmware.
pub(super) struct LocalState {
    kept: KeptState,
    entries: Entries,
}

impl KeptState {
    pub(super) fn open(&self) -> LocalState {
        LocalState {
            entries: self.0.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            kept: self.clone(),
        }
    }
}

impl StateStore for LocalState {
    fn entries(&self) -> &Entries {
        &self.entries
    }

    fn set(&mut self, key: &str, value: Option<Vec<u8>>) -> Result<(), Fault> {
        match value {
            Some(value) => _ = self.entries.insert(key.to_owned(), value),
            None => _ = self.entries.remove(key),
        }
        self.entries
            .clone_into(&mut self.kept.0.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }
}
