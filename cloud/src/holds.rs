//! Devices with copies: several boards that log in with the same keys. Decides nothing: the rules are in
//! `iottly_core::clones`.
//!
//! While a device is held, nothing is delivered to its boards and nothing of them is stored. The list is in memory, and
//! in the store for the next start.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use iottly_core::clones::{Hold, Seen, Verdict};
use iottly_core::model::{Change, CopyFate, DeviceCopy, Principal, Scope, UnixMs};
use iottly_protocol::{BootId, DeviceId, Down, Held, ProjectId};
use iottly_store::{Store, StoreError};

use crate::broker::Broker;
use crate::clock;

/// Shortest time between two writes of a device's copies that its own hellos cause, in milliseconds. What is not written is
/// in memory, and is heard again after a restart.
const STORE_EVERY_MS: UnixMs = 60_000;

/// Device with copies.
struct HeldDevice {
    scope: Scope,
    hold: Hold,
    /// Time of the steady clock at which the copies were stored.
    stored: UnixMs,
}

/// Service of devices with copies.
pub struct Holds {
    store: Arc<dyn Store>,
    broker: Arc<dyn Broker>,
    /// Bounded by the devices; each has at most eight copies.
    held: RwLock<HashMap<DeviceId, HeldDevice>>,
}

impl Holds {
    /// Reads the copies that the store has.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn load(store: Arc<dyn Store>, broker: Arc<dyn Broker>) -> Result<Self, StoreError> {
        let mut copies: HashMap<DeviceId, (Scope, Vec<DeviceCopy>)> = HashMap::new();
        for (scope, copy) in store.device_copies().await? {
            copies
                .entry(scope.device)
                .or_insert((scope, Vec::new()))
                .1
                .push(copy);
        }
        let held: HashMap<_, _> = copies
            .into_iter()
            .map(|(device, (scope, copies))| {
                let hold = Hold::of(copies);
                (
                    device,
                    HeldDevice {
                        scope,
                        hold,
                        stored: clock::steady_ms(),
                    },
                )
            })
            .collect();
        for (device, known) in &held {
            broker.hold(*device, known.hold.is_open());
        }
        Ok(Self {
            store,
            broker,
            held: RwLock::new(held),
        })
    }

    /// Returns true while no operator has decided which board is the device.
    #[must_use]
    pub fn is_held(&self, device: DeviceId) -> bool {
        self.read(device, Hold::is_open).unwrap_or(false)
    }

    /// Returns the verdict on a board.
    #[must_use]
    pub(crate) fn verdict(&self, device: DeviceId, boot: BootId) -> Verdict {
        self.read(device, |hold| hold.verdict(boot))
            .unwrap_or(Verdict::Go)
    }

    fn read<T>(&self, device: DeviceId, look: impl FnOnce(&Hold) -> T) -> Option<T> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.get(&device).map(|known| look(&known.hold))
    }

    /// Begins to hold a device of which two boards were heard.
    pub(crate) async fn begin(&self, scope: Scope, two: [Seen; 2]) {
        let [one, other] = two.each_ref().map(|seen| seen.address.clone());
        tracing::warn!(device.id = %scope.device, project.id = %scope.project, peer.address = one, other.address = other, "two boards log in as one device; holding both until one is kept");
        let hold = Hold::begin(two, clock::now());
        self.broker.hold(scope.device, true);
        self.put(scope, hold).await;
        self.tell(scope.device).await;
    }

    /// Notes that a board of a held device was heard, and tells it what it is.
    pub(crate) async fn heard(&self, scope: Scope, seen: Seen) {
        let boot = seen.boot;
        let steady = clock::steady_ms();
        let changed = {
            let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
            held.get_mut(&scope.device).and_then(|known| {
                let changed = known.hold.heard(seen, clock::now());
                let is_due = steady.saturating_sub(known.stored) >= STORE_EVERY_MS;
                (changed && is_due).then(|| known.hold.clone())
            })
        };
        if let Some(hold) = changed {
            self.put(scope, hold).await;
        }
        let kept = match self.verdict(scope.device, boot) {
            Verdict::Held => None,
            Verdict::Go => Some(true),
            Verdict::Left => Some(false),
        };
        self.send(scope.device, Held { boot, kept }).await;
    }

    async fn put(&self, scope: Scope, hold: Hold) {
        // In memory it holds at once; a row that is missing after a restart is made again when the boards are heard.
        if let Err(error) = self.store.put_copies(scope, hold.copies()).await {
            tracing::error!(device.id = %scope.device, %error, "failed to store the copies of a device; holding them until the cloud restarts");
        }
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.insert(
            scope.device,
            HeldDevice {
                scope,
                hold,
                stored: clock::steady_ms(),
            },
        );
    }

    /// Sends all boards of a device the verdicts on them.
    async fn tell(&self, device: DeviceId) {
        let copies = self
            .read(device, |hold| hold.copies().to_vec())
            .unwrap_or_default();
        for copy in copies {
            let kept = match copy.fate {
                CopyFate::Open => None,
                CopyFate::Kept => Some(true),
                CopyFate::Left => Some(false),
            };
            let boot = copy.boot;
            self.send(device, Held { boot, kept }).await;
        }
    }

    async fn send(&self, device: DeviceId, held: Held) {
        self.broker
            .tell_copies(device, Down::Held(held).encode().into())
            .await;
    }

    /// Returns the copies of a project's devices that wait for a decision, by device and number.
    #[must_use]
    pub fn of(&self, project: ProjectId) -> Vec<(DeviceId, DeviceCopy)> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let open = held
            .values()
            .filter(|known| known.scope.project == project && known.hold.is_open());
        let mut copies: Vec<_> = open
            .flat_map(|known| {
                known
                    .hold
                    .copies()
                    .iter()
                    .map(|copy| (known.scope.device, copy.clone()))
            })
            .collect();
        copies.sort_by_key(|(device, copy)| (*device, copy.number));
        copies
    }

    /// Keeps one board as the device. The others are notified that they are copies.
    ///
    /// # Errors
    /// If the device has no such copy, or the store fails.
    pub async fn keep(&self, by: &Principal, device: DeviceId, number: u32) -> Result<(), StoreError> {
        // The latest of them may be in memory only.
        if let Some(copies) = self.read(device, |hold| hold.copies().to_vec()) {
            let project = by.project;
            self.store.put_copies(Scope { project, device }, &copies).await?;
        }
        let change = Change::KeepCopy { device, number };
        self.store.change(by.project, by, change, clock::now()).await?;
        {
            let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = held.get_mut(&device) {
                known.hold.keep(number);
            }
        }
        self.broker.hold(device, false);
        self.tell(device).await;
        Ok(())
    }

    /// Forgets a device that was deleted, or whose board was replaced.
    pub async fn forget(&self, device: DeviceId) {
        let forgotten = {
            let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
            held.remove(&device)
        };
        if let Some(HeldDevice { scope, .. }) = forgotten {
            self.broker.hold(device, false);
            if let Err(error) = self.store.put_copies(scope, &[]).await {
                tracing::error!(device.id = %device, %error, "failed to remove the copies of a device; they are listed again after a restart");
            }
        }
    }
}
