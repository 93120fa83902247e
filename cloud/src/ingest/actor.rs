//! The actor of the ingest: a bounded queue in front of one task that commits groups and then acknowledges
//! them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use iottly_protocol::enroll::EnrollOffer;
use iottly_protocol::limits::clip;
use iottly_protocol::{DeviceId, Status};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::queue::{Job, Queue, What};
use super::worker::Worker;
use crate::boards::BoardViews;
use crate::broker::{Broker, Uplink};
use crate::command::CommandService;
use crate::critical_tasks::CriticalTasks;
use crate::device_settings::DeviceSettingsService;
use crate::guarded_clock::GuardedClock;
use crate::health::HealthService;
use crate::holds::Holds;
use crate::leases::Leases;
use crate::links::Book;
use crate::live::LiveHub;
use crate::metrics::Metrics;
use crate::presence::PresenceService;
use crate::rollout::Rollouts;
use iottly_core::RateLimitedLog;
use iottly_core::ingest::decode::{Decoded, decode};
use iottly_core::model::Scope;
use iottly_store::Store;

/// Maximum wait of a publish for room in the queue. After that the publish is dropped; the device resends it
/// because it was never acknowledged. An unbounded wait would accumulate the publishes of devices that time
/// out and reconnect.
const PATIENCE: Duration = Duration::from_secs(10);
/// Maximum number of devices whose project is cached, and the age of an entry: another process may have
/// deleted the device. Shorter than the time for which late records of deleted devices are erased.
const SCOPES: usize = 100_000;
const SCOPE_AGE: Duration = Duration::from_secs(30);

/// Rate limit of the log line about devices whose look-up failed.
static UNKNOWN: RateLimitedLog = RateLimitedLog::new();
/// Rate limit of the log line about publishes for which there was no room.
static FULL: RateLimitedLog = RateLimitedLog::new();

/// Entrance of the ingest, for the broker; cheap to clone.
#[derive(Clone)]
pub struct IngestHandle {
    queue: Arc<Queue>,
    store: Arc<dyn Store>,
    time: Arc<GuardedClock>,
    scopes: Arc<Mutex<HashMap<DeviceId, (Scope, Instant)>>>,
    boards: Arc<BoardViews>,
    health: Arc<HealthService>,
}

/// Dependencies of the ingest.
pub struct IngestParts {
    /// Store that records are committed to.
    pub store: Arc<dyn Store>,
    /// Broker that acknowledgements are sent through.
    pub broker: Arc<dyn Broker>,
    /// Service notified of commands' results.
    pub commands: Arc<CommandService>,
    /// Service that sends settings after a hello.
    pub device_settings: Arc<DeviceSettingsService>,
    /// Service notified of updates; sends directives after a hello.
    pub rollouts: Arc<Rollouts>,
    /// Service that sends developer orders after a hello.
    pub leases: Arc<Leases>,
    /// Service of devices with copies.
    pub holds: Arc<Holds>,
    /// Hub notified of stored messages.
    pub live: Arc<LiveHub>,
    /// Metrics of the ingest.
    pub metrics: Arc<Metrics>,
    /// Clock for times of receipt.
    pub time: Arc<GuardedClock>,
    /// Offer to devices without a key.
    pub enroll_offer: Arc<OnceLock<EnrollOffer>>,
    /// Views of boards, notified of hellos.
    pub boards: Arc<BoardViews>,
    /// Service notified of changes of presence.
    pub(crate) presence: Arc<PresenceService>,
    /// Notes about links and sendings.
    pub(crate) book: Arc<Book>,
}

/// The running ingest.
pub struct Ingest {
    worker: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

/// The queue before its worker is started: the broker needs the handle first, the worker needs the broker.
pub struct IngestQueue(Arc<Queue>);

impl Ingest {
    /// Creates the queue over a store.
    #[must_use]
    pub fn queue(
        store: Arc<dyn Store>,
        time: Arc<GuardedClock>,
        boards: Arc<BoardViews>,
        health: Arc<HealthService>,
    ) -> (IngestHandle, IngestQueue) {
        let queue = Arc::new(Queue::default());
        (
            IngestHandle {
                queue: Arc::clone(&queue),
                store,
                time,
                scopes: Arc::default(),
                boards,
                health,
            },
            IngestQueue(queue),
        )
    }

    /// Starts the worker on a queue. `grace` is the time in which devices that were online may reconnect.
    #[must_use]
    pub fn start(queue: IngestQueue, parts: IngestParts, grace: Duration, critical: &CriticalTasks) -> Self {
        let (stop, stopped) = oneshot::channel();
        let worker = Worker::new(queue.0, parts);
        let run = critical.watch("ingest", worker.run(stopped, grace));
        Self {
            worker: tokio::spawn(run),
            stop,
        }
    }

    /// Stops accepting events and waits until everything queued is committed. What is not committed within
    /// `limit` was not acknowledged, so devices send it again.
    pub async fn finish(mut self, limit: Duration) {
        // Fails only if the worker has ended.
        let _ = self.stop.send(());
        if tokio::time::timeout(limit, &mut self.worker).await.is_err() {
            tracing::warn!("failed to commit all queued events in time; devices send the rest again");
            self.worker.abort();
        }
    }
}

impl IngestHandle {
    /// Returns the number of events that wait for the worker, and the bytes of publishes between the broker
    /// and their commit.
    pub fn depth(&self) -> (usize, usize) {
        self.queue.depth()
    }

    /// Returns true if events wait and nothing has been committed for [`STALLED`](super::STALLED).
    pub fn is_stalled(&self) -> bool {
        self.queue.progress.is_stalled(Instant::now())
    }

    /// Returns the device's scope; none if the device does not exist (any more).
    async fn scope(&self, device: DeviceId) -> Option<Scope> {
        let known = self
            .scopes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&device)
            .copied();
        if let Some((scope, since)) = known
            && since.elapsed() < SCOPE_AGE
        {
            return Some(scope);
        }
        let asked = Instant::now();
        let found = match self.store.device_credentials(device).await {
            Ok(found) => found.map(|(scope, _)| scope),
            Err(error) => {
                if let Some(more) = UNKNOWN.ask(std::time::Instant::now()) {
                    tracing::error!(device.id = %device, %error, suppressed_lines = more, "failed to look up a device; its publish is dropped, and the device sends it again");
                }
                None
            }
        }?;
        let mut scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        if scopes.len() >= SCOPES {
            scopes.clear();
        }
        scopes.insert(device, (found, asked));
        Some(found)
    }

    async fn queue(&self, device: DeviceId, bytes: usize, what: What) {
        let hand_over = async {
            let Some(scope) = self.scope(device).await else {
                return;
            };
            let room = self.queue.room(scope, bytes).await;
            self.queue.push(Job {
                scope,
                at: self.time.received(),
                what,
                room,
            });
        };
        if tokio::time::timeout(PATIENCE, hand_over).await.is_err()
            && let Some(more) = FULL.ask(std::time::Instant::now())
        {
            tracing::warn!(device.id = %device, suppressed_lines = more, "failed to queue a publish because the queue is full; the device sends it again");
        }
    }
}

#[async_trait]
impl Uplink for IngestHandle {
    async fn message(&self, device: DeviceId, payload: Bytes) {
        // Decoded on the connection's task, so that the worker only commits.
        let decoded = decode(&payload);
        self.queue(device, payload.len(), What::Publish(decoded)).await;
    }

    async fn held(&self, device: DeviceId, address: Option<IpAddr>, payload: Bytes) {
        // Anything else is of no use from there, and no fault of the device in its history.
        if let Ok(Decoded::Hello(hello)) = decode(&payload) {
            self.queue(device, payload.len(), What::Held(hello, address))
                .await;
        }
    }

    async fn status(&self, device: DeviceId, payload: Bytes) {
        let what = match Status::decode(&payload) {
            Ok(status) => What::Status(status),
            Err(error) => What::Publish(Err(format!("status: {}", clip(&error.to_string(), 256)))),
        };
        self.queue(device, payload.len(), what).await;
    }

    async fn board(&self, device: DeviceId, payload: Bytes) {
        // Not through the queue: it is not stored, and a newer one follows.
        self.boards.arrived(device, &payload);
    }

    async fn health(&self, device: DeviceId, payload: Bytes) {
        // Not through the queue: a newer one follows, and messages do not wait behind it.
        if self.health.admits(device)
            && let Some(scope) = self.scope(device).await
        {
            self.health.arrived(scope, &payload, self.time.received());
        }
    }

    async fn revoked(&self, device: DeviceId) {
        self.scopes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&device);
    }

    async fn disconnected(&self, device: DeviceId) {
        self.queue(device, 0, What::Disconnected).await;
    }
}

#[cfg(test)]
mod tests {
    use iottly_protocol::{GroupId, ProjectId};

    use super::*;
    use iottly_core::model::{Actor, Change, Principal, Project, Scopes, SecretHash};
    use iottly_store::{NewDevice, SqliteStore};

    #[tokio::test]
    async fn a_deleted_device_is_not_remembered() {
        let folder = tempfile::tempdir().expect("a folder");
        let store: Arc<dyn Store> = Arc::new(
            SqliteStore::open(&folder.path().join("cloud.db"))
                .await
                .expect("opens"),
        );
        let scope = Scope {
            project: ProjectId::from_bytes([1; 12]),
            device: DeviceId::random(),
        };
        let project = Project {
            id: scope.project,
            name: "p".into(),
            created: 0,
            retention_days: None,
        };
        let group = GroupId::from_bytes([1; 16]);
        store.create_project(&project, group, &[]).await.expect("created");
        let device = NewDevice {
            scope,
            name: "d".into(),
            group,
            secret: SecretHash::of(b"s"),
        };
        store.create_device(&device).await.expect("created");
        let time = Arc::new(GuardedClock::new(Arc::new(crate::clock::now)));
        let boards = Arc::new(BoardViews::new(Arc::clone(&store)));
        let health = Arc::new(HealthService::new(Arc::clone(&store), Arc::default()));
        let (handle, queue) = Ingest::queue(Arc::clone(&store), time, boards, health);
        for _ in 0..2 {
            handle.message(scope.device, Bytes::from_static(b"{}")).await;
            assert!(queue.0.pop().is_some_and(|job| job.scope == scope));
        }
        let (actor, scopes) = (Actor::Cloud, Scopes::ADMIN);
        let by = Principal {
            project: scope.project,
            actor,
            name: "t".into(),
            scopes,
            group: None,
            address: None,
        };
        store
            .change(scope.project, &by, Change::DeleteDevice(scope.device), 1)
            .await
            .expect("deleted");
        handle.revoked(scope.device).await;
        handle.message(scope.device, Bytes::from_static(b"{}")).await;
        assert!(queue.0.pop().is_none());
    }
}
