//! Views of virtual boards: asks devices for their state while there are viewers, shares it among the viewers, and passes on
//! what they press and set. In memory only; decides nothing about boards: the rules are in `iottly_core::board`.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use iottly_core::board::{LEASE_MS, Standing, Watched, check};
use iottly_core::model::{Actor, Change, Principal, Scope, UnixMs};
use iottly_core::rate::RateLimit;
use iottly_protocol::board::{BoardInput, BoardMessage, BoardOrder, BoardState};
use iottly_protocol::{DeviceId, Down, ProjectId};
use iottly_store::{Store, StoreError};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use crate::broker::Broker;
use crate::clock;

/// Maximum number of viewers of a project, and of all.
const MAX_PER_PROJECT: usize = 64;
const MAX_VIEWERS: usize = 512;
/// Maximum number of devices of a project that are watched at once.
const MAX_DEVICES: usize = 32;
/// Maximum number of devices of which it is known whether they show their board; beyond it all are forgotten until their
/// next hello.
const MAX_KNOWN: usize = 100_000;
/// Maximum number of requests with inputs a minute, for a device and for a project.
const DEVICE_INPUTS: NonZeroU32 = NonZeroU32::new(1200).expect("not zero");
const PROJECT_INPUTS: NonZeroU32 = NonZeroU32::new(6000).expect("not zero");
/// Interval at which views are looked after while there are any.
const EVERY: Duration = Duration::from_secs(1);
/// Maximum wait for a device's first state, and for the state after an input.
const PATIENCE: Duration = Duration::from_secs(2);
/// Shortest time between two entries of the audit log for inputs of one person or token to one device, in milliseconds.
const AUDIT_EVERY_MS: i64 = 10 * 60 * 1000;
/// Maximum number of such pairs that are remembered.
const MAX_AUDITED: usize = 10_000;

/// View of a board at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// Reason why the board is shown as it is.
    pub standing: Standing,
    /// Newest state of the device; none before the first.
    pub state: Option<Arc<BoardState>>,
    /// Time at which the newest state arrived.
    pub at: Option<UnixMs>,
}

/// Refusal of a viewer or an input.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// The project has its maximum of viewers.
    #[error("the project already has {MAX_PER_PROJECT} viewers of boards, the maximum")]
    Viewers,
    /// The project watches its maximum of boards.
    #[error("the boards of {MAX_DEVICES} devices of the project are watched already, the maximum")]
    Devices,
    /// The cloud has its maximum of viewers.
    #[error("the cloud already has {MAX_VIEWERS} viewers of boards, the maximum")]
    All,
    /// An input does not fit the board.
    #[error("{0}")]
    Invalid(String),
    /// Too many inputs.
    #[error(
        "more inputs than a person makes: {DEVICE_INPUTS} a minute for a device, {PROJECT_INPUTS} for a project"
    )]
    TooMany {
        /// Seconds until the next one is allowed.
        wait_s: u32,
    },
    /// The device does not send its state.
    #[error("{}", .0.text())]
    NotLive(Standing),
    /// The device has not confirmed the input.
    #[error("the device has not answered within {} s; the input may have been lost", PATIENCE.as_secs())]
    Unanswered,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Service of the views of boards.
pub struct BoardViews {
    store: Arc<dyn Store>,
    broker: OnceLock<Arc<dyn Broker>>,
    inner: Mutex<Inner>,
    wake: Notify,
    /// Number of the latest order.
    number: AtomicU64,
    device_inputs: RateLimit<DeviceId>,
    project_inputs: RateLimit<ProjectId>,
    /// Times of the last audit entries.
    audited: Mutex<HashMap<(Actor, DeviceId), i64>>,
}

#[derive(Default)]
struct Inner {
    /// Devices that have said hello, and whether they show their board.
    able: HashMap<DeviceId, bool>,
    views: HashMap<DeviceId, View>,
}

struct View {
    scope: Scope,
    viewers: usize,
    watched: Watched,
    seen: watch::Sender<Seen>,
}

/// Viewer of one board; the device is asked for its state until the last viewer is dropped.
pub struct Viewer {
    views: Arc<BoardViews>,
    device: DeviceId,
    seen: watch::Receiver<Seen>,
}

impl BoardViews {
    /// Creates the service; it needs a broker before it can ask devices.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            broker: OnceLock::new(),
            inner: Mutex::default(),
            wake: Notify::new(),
            // Rises over restarts, unless the clock was set back: a device then confirms an input that it did not get.
            number: AtomicU64::new(clock::now().unsigned_abs()),
            device_inputs: RateLimit::per_minute(DEVICE_INPUTS),
            project_inputs: RateLimit::per_minute(PROJECT_INPUTS),
            audited: Mutex::default(),
        }
    }

    /// Sets the broker.
    pub(crate) fn attach(&self, broker: Arc<dyn Broker>) {
        // A second call would set the same broker.
        let _ = self.broker.set(broker);
    }

    /// Returns true if the device's last hello says that it shows its board; none before the first hello since the cloud
    /// started.
    #[must_use]
    pub fn can_show(&self, device: DeviceId) -> Option<bool> {
        lock(&self.inner).able.get(&device).copied()
    }

    /// Admits a viewer of a device's board.
    ///
    /// # Errors
    /// If the project or the cloud has its maximum of viewers, or the project its maximum of watched devices.
    pub fn watch(self: &Arc<Self>, scope: Scope) -> Result<Viewer, BoardError> {
        let mut inner = lock(&self.inner);
        let all: usize = inner.views.values().map(|view| view.viewers).sum();
        let own = inner
            .views
            .values()
            .filter(|view| view.scope.project == scope.project);
        let (devices, viewers) = own.fold((0, 0), |(devices, viewers), view| {
            (devices + 1, viewers + view.viewers)
        });
        if all >= MAX_VIEWERS {
            return Err(BoardError::All);
        }
        if viewers >= MAX_PER_PROJECT {
            return Err(BoardError::Viewers);
        }
        if devices >= MAX_DEVICES && !inner.views.contains_key(&scope.device) {
            return Err(BoardError::Devices);
        }
        let view = inner.views.entry(scope.device).or_insert_with(|| View {
            scope,
            viewers: 0,
            watched: Watched {
                since: clock::steady_ms(),
                ..Watched::default()
            },
            seen: watch::Sender::new(Seen::default()),
        });
        view.viewers += 1;
        let seen = view.seen.subscribe();
        drop(inner);
        self.wake.notify_one();
        Ok(Viewer {
            views: Arc::clone(self),
            device: scope.device,
            seen,
        })
    }

    /// Passes inputs to a device, and returns its board after them.
    ///
    /// # Errors
    /// See [`BoardError`].
    pub async fn touch(
        self: &Arc<Self>,
        scope: Scope,
        by: &Principal,
        inputs: Vec<BoardInput>,
    ) -> Result<Seen, BoardError> {
        let now = clock::steady_ms();
        for verdict in [
            self.device_inputs.ask(scope.device, now),
            self.project_inputs.ask(scope.project, now),
        ] {
            if !verdict.allowed {
                return Err(BoardError::TooMany { wait_s: verdict.wait });
            }
        }
        let mut viewer = self.watch(scope)?;
        let seen = viewer.first().await;
        let state = match (&seen.state, seen.standing) {
            (Some(state), Standing::Live) => state,
            (_, standing) => return Err(BoardError::NotLive(standing)),
        };
        check(&inputs, state).map_err(BoardError::Invalid)?;
        self.audit(scope, by).await?;
        let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        self.order(scope.device, number, LEASE_MS, inputs).await;
        let applied = viewer
            .seen
            .wait_for(|seen| seen.state.as_ref().is_some_and(|state| state.applied >= number));
        match timeout(PATIENCE, applied).await {
            Ok(Ok(seen)) => Ok(seen.clone()),
            _ => Err(BoardError::Unanswered),
        }
    }

    /// Writes an audit entry about inputs, unless there was one a short time ago.
    async fn audit(&self, scope: Scope, by: &Principal) -> Result<(), StoreError> {
        let (key, now) = ((by.actor, scope.device), clock::steady_ms());
        {
            let mut audited = lock(&self.audited);
            if audited.get(&key).is_some_and(|at| now - at < AUDIT_EVERY_MS) {
                return Ok(());
            }
            if audited.len() >= MAX_AUDITED {
                audited.clear();
            }
            audited.insert(key, now);
        }
        let change = Change::TouchBoard(scope.device);
        self.store.change(scope.project, by, change, clock::now()).await?;
        Ok(())
    }

    /// Takes note of a device's hello.
    pub(crate) fn hello(&self, device: DeviceId, can_show: bool) {
        let mut inner = lock(&self.inner);
        if inner.able.len() >= MAX_KNOWN {
            inner.able.clear();
        }
        inner.able.insert(device, can_show);
        if let Some(view) = inner.views.get_mut(&device) {
            // What the device was asked before is lost.
            view.watched.ordered = None;
            view.watched.since = clock::steady_ms();
            drop(inner);
            self.wake.notify_one();
        }
    }

    /// Takes a message about its board from a device. Without a viewer it is not even read.
    pub(crate) fn arrived(&self, device: DeviceId, payload: &[u8]) {
        let now = clock::steady_ms();
        let admitted = (lock(&self.inner).views.get_mut(&device))
            .is_some_and(|view| view.viewers > 0 && view.watched.admit(now));
        if !admitted {
            return;
        }
        let state = match BoardMessage::decode(payload) {
            Ok(BoardMessage::State(state)) => Arc::new(state),
            Err(error) => {
                tracing::debug!(device.id = %device, %error, "failed to decode the state of a board; skipping it");
                return;
            }
        };
        if let Some(view) = lock(&self.inner).views.get(&device) {
            view.seen.send_replace(Seen {
                standing: Standing::Live,
                state: Some(state),
                at: Some(clock::now()),
            });
        }
    }

    /// Asks devices for their boards while there are viewers, and takes note of those that do not answer.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            let idle = lock(&self.inner).views.is_empty();
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep(EVERY), if !idle => {}
            }
            self.round().await;
        }
    }

    async fn round(&self) {
        let watched: Vec<(DeviceId, usize)> = (lock(&self.inner).views.iter())
            .map(|(device, view)| (*device, view.viewers))
            .collect();
        for (device, viewers) in watched {
            let connected = match self.broker.get() {
                Some(broker) => broker.is_connected(device).await,
                None => false,
            };
            let lease = if viewers == 0 {
                self.leave(device).then_some(0)
            } else {
                self.look(device, connected).then_some(LEASE_MS)
            };
            if let Some(lease) = lease.filter(|_| connected) {
                let number = self.number.load(Ordering::Relaxed);
                self.order(device, number, lease, Vec::new()).await;
            }
        }
    }

    /// Removes a view without viewers. Returns true if the device may still send.
    fn leave(&self, device: DeviceId) -> bool {
        let mut inner = lock(&self.inner);
        let is_left = inner.views.get(&device).is_some_and(|view| view.viewers == 0);
        is_left
            && inner
                .views
                .remove(&device)
                .is_some_and(|view| view.watched.ordered.is_some())
    }

    /// Notes the standing of a device. Returns true if the device is to be asked now.
    fn look(&self, device: DeviceId, connected: bool) -> bool {
        let (mut inner, now) = (lock(&self.inner), clock::steady_ms());
        let can_show = inner.able.get(&device).copied();
        let Some(view) = inner.views.get_mut(&device) else {
            return false;
        };
        let standing = view.watched.standing(connected, can_show, now);
        view.seen.send_if_modified(|seen| {
            let changed = seen.standing != standing;
            seen.standing = standing;
            changed
        });
        let due = connected && can_show == Some(true) && view.watched.is_due(now);
        if due {
            view.watched.ordered = Some(now);
        }
        due
    }

    async fn order(&self, device: DeviceId, number: u64, watch_ms: u64, inputs: Vec<BoardInput>) {
        let order = Down::Board(BoardOrder {
            number,
            watch_ms,
            inputs,
        });
        let Some(broker) = self.broker.get() else { return };
        if let Err(error) = broker.publish(device, Bytes::from(order.encode())).await {
            tracing::debug!(device.id = %device, %error, "failed to ask a device for its board; asking again in a few seconds");
        }
    }
}

impl Viewer {
    /// Returns what is seen now.
    #[must_use]
    pub fn now(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Waits for the device's first state, for two seconds at most, and returns what is seen then.
    pub async fn first(&mut self) -> Seen {
        let settled = self
            .seen
            .wait_for(|seen| !matches!(seen.standing, Standing::Waiting));
        // What is seen is as good as it gets in both cases.
        let _ = timeout(PATIENCE, settled).await;
        self.seen.borrow_and_update().clone()
    }

    /// Waits for the next change, and returns what is seen after it; of several changes the last. Cancel-safe.
    pub async fn changed(&mut self) -> Option<Seen> {
        self.seen.changed().await.ok()?;
        Some(self.seen.borrow_and_update().clone())
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        if let Some(view) = lock(&self.views.inner).views.get_mut(&self.device) {
            view.viewers = view.viewers.saturating_sub(1);
        }
    }
}

/// Locks data that is whole at every moment, also after a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
