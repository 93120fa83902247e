//! The shell of the ingest: a bounded queue in front of one task that commits groups and then answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use iottly_protocol::{DeviceId, Status};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::decode::{Decoded, decode};
use super::worker::Worker;
use crate::broker::{Broker, Uplink};
use crate::clock;
use crate::command::CommandService;
use crate::device_config::DeviceConfigs;
use crate::live::LiveHub;
use crate::metrics::Metrics;
use crate::model::{Scope, UnixMs};
use crate::rollout::Rollouts;
use crate::store::Store;
use crate::vital::Vital;

/// Most events that wait for the worker.
const QUEUE_EVENTS: usize = 4096;
/// Most bytes of publishes between the broker and the end of their commit.
const QUEUE_BYTES: usize = 64 << 20;
/// Unit of the byte budget.
const PERMIT_BYTES: usize = 1024;
/// How long a publish waits for room. Then it is let go: the device has no ack for it and sends it again, while a wait
/// without end would pile up the publishes of devices that lose patience and reconnect.
const PATIENCE: Duration = Duration::from_secs(10);
/// Devices whose project is remembered, and for how long: another process may have deleted the device. Shorter than the time for
/// which late records of deleted devices are erased.
const SCOPES: usize = 100_000;
const SCOPE_AGE: Duration = Duration::from_secs(30);

/// Something for the worker; the permit is held until it is done.
pub(super) struct Job {
    pub(super) scope: Scope,
    pub(super) at: UnixMs,
    pub(super) what: What,
    _room: OwnedSemaphorePermit,
}

pub(super) enum What {
    Publish(Result<Decoded, String>),
    Status(Status),
    Disconnected,
}

/// Where the broker hands over what devices publish; cheap to clone.
#[derive(Clone)]
pub struct IngestHandle {
    jobs: mpsc::Sender<Job>,
    room: Arc<Semaphore>,
    store: Arc<dyn Store>,
    scopes: Arc<Mutex<HashMap<DeviceId, (Scope, Instant)>>>,
}

/// What the ingest works with.
pub struct IngestParts {
    /// Where messages go.
    pub store: Arc<dyn Store>,
    /// Where the answers go.
    pub broker: Arc<dyn Broker>,
    /// Who hears of commands' results.
    pub commands: Arc<CommandService>,
    /// Who sends settings after a hello.
    pub configs: Arc<DeviceConfigs>,
    /// Who hears of updates, and sends directives after a hello.
    pub rollouts: Arc<Rollouts>,
    /// Who hears of what is stored.
    pub live: Arc<LiveHub>,
    /// Numbers about it.
    pub metrics: Arc<Metrics>,
}

/// The running ingest.
pub struct Ingest {
    worker: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

/// The queue before its worker is started: the broker needs the handle first, the worker needs the broker.
pub struct IngestQueue {
    jobs: mpsc::Receiver<Job>,
}

impl Ingest {
    /// Makes the queue over a store.
    #[must_use]
    pub fn queue(store: Arc<dyn Store>) -> (IngestHandle, IngestQueue) {
        let (jobs, receiver) = mpsc::channel(QUEUE_EVENTS);
        let room = Arc::new(Semaphore::new(QUEUE_BYTES / PERMIT_BYTES));
        (IngestHandle { jobs, room, store, scopes: Arc::default() }, IngestQueue { jobs: receiver })
    }

    /// Starts the worker on a queue. `grace` is how long devices that were online may take to come back.
    #[must_use]
    pub(crate) fn start(queue: IngestQueue, parts: IngestParts, grace: Duration, vital: &Vital) -> Self {
        let (stop, stopped) = oneshot::channel();
        let worker = Worker::new(parts);
        let run = vital.watch("ingest", worker.run(queue.jobs, stopped, grace));
        Self { worker: tokio::spawn(run), stop }
    }

    /// Takes nothing new and waits until everything queued is committed. What does not make it within `limit` was not
    /// acknowledged and comes again.
    pub async fn finish(mut self, limit: Duration) {
        // Fails only when the worker is gone already.
        let _ = self.stop.send(());
        if tokio::time::timeout(limit, &mut self.worker).await.is_err() {
            tracing::warn!("ingest did not finish in time; devices send the rest again");
            self.worker.abort();
        }
    }
}

impl IngestHandle {
    /// How many events wait for the worker, and how many bytes of publishes are between the broker and their commit.
    pub(crate) fn depth(&self) -> (usize, usize) {
        let taken = (QUEUE_BYTES / PERMIT_BYTES).saturating_sub(self.room.available_permits());
        (self.jobs.max_capacity() - self.jobs.capacity(), taken * PERMIT_BYTES)
    }

    /// The device's project; none for a device that does not exist (any more).
    async fn scope(&self, device: DeviceId) -> Option<Scope> {
        let known = self.scopes.lock().unwrap_or_else(PoisonError::into_inner).get(&device).copied();
        if let Some((scope, since)) = known
            && since.elapsed() < SCOPE_AGE
        {
            return Some(scope);
        }
        let asked = Instant::now();
        let found = match self.store.device_credentials(device).await {
            Ok(found) => found.map(|(scope, _)| scope),
            Err(error) => {
                tracing::error!(%device, %error, "publish is let go, the device sends it again");
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
            let Some(scope) = self.scope(device).await else { return };
            let permits = u32::try_from(bytes.min(QUEUE_BYTES) / PERMIT_BYTES + 1).unwrap_or(1);
            // Both fail only when the cloud stops; the device will find the next one.
            let Ok(room) = Arc::clone(&self.room).acquire_many_owned(permits).await else { return };
            let _ = self.jobs.send(Job { scope, at: clock::now(), what, _room: room }).await;
        };
        if tokio::time::timeout(PATIENCE, hand_over).await.is_err() {
            tracing::warn!(%device, "ingest queue is full, the device sends again");
        }
    }
}

#[async_trait]
impl Uplink for IngestHandle {
    async fn message(&self, device: DeviceId, payload: Bytes) {
        // Decoded here, on the connection's task, so that the worker only commits.
        let decoded = decode(&payload);
        self.queue(device, payload.len(), What::Publish(decoded)).await;
    }

    async fn status(&self, device: DeviceId, payload: Bytes) {
        let what = match Status::decode(&payload) {
            Ok(status) => What::Status(status),
            Err(error) => What::Publish(Err(format!("status: {error}"))),
        };
        self.queue(device, payload.len(), what).await;
    }

    async fn revoked(&self, device: DeviceId) {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner).remove(&device);
    }

    async fn disconnected(&self, device: DeviceId) {
        self.queue(device, 0, What::Disconnected).await;
    }
}

#[cfg(test)]
mod tests {
    use iottly_protocol::{GroupId, ProjectId};

    use super::*;
    use crate::model::{Change, Principal, Project, Scopes, SecretHash, TokenId};
    use crate::store::{NewDevice, SqliteStore};

    #[tokio::test]
    async fn a_deleted_device_is_not_remembered() {
        let folder = tempfile::tempdir().expect("a folder");
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&folder.path().join("cloud.db")).await.expect("opens"));
        let scope = Scope { project: ProjectId::from_bytes([1; 12]), device: DeviceId::random() };
        let project = Project { id: scope.project, name: "p".into(), created: 0, retention_days: None };
        let group = GroupId::from_bytes([1; 16]);
        store.create_project(&project, group, &[]).await.expect("created");
        let device = NewDevice { scope, name: "d".into(), group, secret: SecretHash::of(b"s") };
        store.create_device(&device).await.expect("created");
        let (handle, mut queue) = Ingest::queue(Arc::clone(&store));
        for _ in 0..2 {
            handle.message(scope.device, Bytes::from_static(b"{}")).await;
            assert!(queue.jobs.try_recv().is_ok_and(|job| job.scope == scope));
        }
        let (token, scopes) = (TokenId::from_bytes([1; 16]), Scopes::ADMIN);
        let by = Principal { project: scope.project, token, name: "t".into(), scopes };
        store.change(scope.project, &by, Change::DeleteDevice(scope.device), 1).await.expect("deleted");
        handle.revoked(scope.device).await;
        handle.message(scope.device, Bytes::from_static(b"{}")).await;
        assert!(queue.jobs.try_recv().is_err());
    }
}
