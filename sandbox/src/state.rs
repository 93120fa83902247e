//! Storage of a firmware's key-value state. Sizes and rates are checked by `imports::state`.

use std::collections::BTreeMap;

use crate::Fault;

/// Store of a firmware's key-value state. Sizes and rates are checked before it is called.
pub trait StateStore: Send {
    /// Returns all entries.
    fn entries(&self) -> &BTreeMap<String, Vec<u8>>;

    /// Sets or, with none, removes a key. Once it returns, the change is durable as far as the store is.
    ///
    /// # Errors
    /// [`Fault::Io`] if the change cannot be written; then nothing has changed.
    fn set(&mut self, key: &str, value: Option<Vec<u8>>) -> Result<(), Fault>;
}

/// State that lasts as long as this value, for trying firmware out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryState {
    entries: BTreeMap<String, Vec<u8>>,
}

impl StateStore for MemoryState {
    fn entries(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.entries
    }

    fn set(&mut self, key: &str, value: Option<Vec<u8>>) -> Result<(), Fault> {
        match value {
            Some(value) => _ = self.entries.insert(key.to_owned(), value),
            None => _ = self.entries.remove(key),
        }
        Ok(())
    }
}
