//! Names of devices whose messages are shown, for all event streams.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use iottly_core::model::Scope;
use iottly_store::DeviceStore;

/// Maximum number of names that are remembered.
const MAX_NAMES: usize = 10_000;
/// Time after which a name is read again.
const FRESH: Duration = Duration::from_secs(60);

/// Names that were read not long ago.
#[derive(Debug, Default)]
pub(crate) struct DeviceNames(Mutex<HashMap<Scope, (Arc<str>, Instant)>>);

impl DeviceNames {
    /// Returns the name of a device; none if it does not exist, or its name cannot be read.
    pub(crate) async fn of(&self, store: &dyn DeviceStore, scope: Scope) -> Option<Arc<str>> {
        if let Some(name) = self.known(scope, Instant::now()) {
            return Some(name);
        }
        let name = Arc::from(store.device_name(scope).await.ok().flatten()?);
        self.keep(scope, &name, Instant::now());
        Some(name)
    }

    fn known(&self, scope: Scope, now: Instant) -> Option<Arc<str>> {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (name, read) = names.get(&scope)?;
        (now.saturating_duration_since(*read) < FRESH).then(|| Arc::clone(name))
    }

    fn keep(&self, scope: Scope, name: &Arc<str>, now: Instant) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= MAX_NAMES {
            names.clear();
        }
        names.insert(scope, (Arc::clone(name), now));
    }
}

#[cfg(test)]
mod tests {
    use iottly_protocol::{DeviceId, ProjectId};

    use super::*;

    #[test]
    fn a_name_is_known_for_a_while_and_their_number_is_bounded() {
        let (names, now) = (DeviceNames::default(), Instant::now());
        let scope = |number: usize| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&number.to_be_bytes());
            Scope {
                project: ProjectId::from_bytes([1; 12]),
                device: DeviceId::from_bytes(id),
            }
        };
        let name = Arc::from("porch");
        names.keep(scope(0), &name, now);
        assert_eq!(names.known(scope(0), now + FRESH / 2), Some(Arc::clone(&name)));
        assert_eq!(names.known(scope(0), now + FRESH), None);
        assert_eq!(names.known(scope(1), now), None);
        let other = Scope {
            project: ProjectId::from_bytes([2; 12]),
            ..scope(0)
        };
        assert_eq!(names.known(other, now), None, "another project's");
        for number in 0..=MAX_NAMES {
            names.keep(scope(number), &name, now);
        }
        assert!(names.0.lock().expect("unpoisoned").len() <= MAX_NAMES);
        assert_eq!(names.known(scope(MAX_NAMES), now), Some(name));
    }
}
