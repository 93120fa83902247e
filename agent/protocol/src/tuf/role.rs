//! Keys and threshold of a role.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::limits;

/// Keys and threshold of a role.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoleKeys {
    /// Ids of the keys.
    pub keyids: Vec<String>,
    /// Number of distinct keys that must have signed, at least 1.
    pub threshold: u64,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

impl RoleKeys {
    /// Returns a role with these keys and this threshold.
    #[must_use]
    pub fn new(keyids: Vec<String>, threshold: u64) -> Self {
        Self {
            keyids,
            threshold,
            extra: BTreeMap::new(),
        }
    }

    /// Checks the threshold and the list of keys.
    pub(super) fn check(&self) -> Result<(), String> {
        check_keys(&self.keyids, self.threshold)
    }
}

pub(super) fn check_keys(keyids: &[String], threshold: u64) -> Result<(), String> {
    if threshold == 0 {
        return Err("a threshold is 0".to_owned());
    }
    if keyids.len() > limits::ROLE_KEYS {
        return Err(format!(
            "a role has {} keys, over the limit of {}",
            keyids.len(),
            limits::ROLE_KEYS
        ));
    }
    if keyids.iter().collect::<BTreeSet<_>>().len() != keyids.len() {
        return Err("a role names a key id twice".to_owned());
    }
    Ok(())
}
