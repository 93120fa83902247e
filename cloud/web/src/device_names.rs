//! Names, groups and tags of devices whose messages are shown, for all event streams.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use iottly_core::history::Sender;
use iottly_core::model::Scope;
use iottly_store::DeviceStore;

/// Maximum number of devices that are remembered.
const MAX_NAMES: usize = 10_000;
/// Time after which a device is read again.
const FRESH: Duration = Duration::from_secs(10);

/// Devices that were read not long ago.
#[derive(Debug, Default)]
pub(crate) struct DeviceNames(Mutex<HashMap<Scope, (Arc<Sender>, Instant)>>);

impl DeviceNames {
    /// Returns a device as filters over messages see it; none if it does not exist, or cannot be read.
    pub(crate) async fn of(&self, store: &dyn DeviceStore, scope: Scope) -> Option<Arc<Sender>> {
        if let Some(sender) = self.known(scope, Instant::now()) {
            return Some(sender);
        }
        let sender = Arc::new(store.sender(scope).await.ok().flatten()?);
        self.keep(scope, &sender, Instant::now());
        Some(sender)
    }

    fn known(&self, scope: Scope, now: Instant) -> Option<Arc<Sender>> {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (sender, read) = names.get(&scope)?;
        (now.saturating_duration_since(*read) < FRESH).then(|| Arc::clone(sender))
    }

    fn keep(&self, scope: Scope, sender: &Arc<Sender>, now: Instant) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= MAX_NAMES {
            names.clear();
        }
        names.insert(scope, (Arc::clone(sender), now));
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
        let name = Arc::new(Sender {
            name: "porch".to_owned(),
            ..Sender::default()
        });
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
