//! The shell of the ingest: a bounded queue in front of one task that commits groups and then answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use iottly_protocol::limits::clip;
use iottly_protocol::{DeviceId, Status};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::queue::{Job, Queue, What};
use super::worker::Worker;
use crate::broker::{Broker, Uplink};
use crate::command::CommandService;
use crate::device_config::DeviceConfigs;
use crate::live::LiveHub;
use crate::metrics::Metrics;
use crate::rollout::Rollouts;
use crate::steady::Steady;
use crate::vital::Vital;
use iottly_core::ingest::decode::decode;
use iottly_core::log_pace::LogPace;
use iottly_core::model::Scope;
use iottly_store::Store;

/// How long a publish waits for room. Then it is let go: the device has no ack for it and sends it again,
/// while a wait without end would pile up the publishes of devices that lose patience and reconnect.
const PATIENCE: Duration = Duration::from_secs(10);
/// Devices whose project is remembered, and for how long: another process may have deleted the device.
/// Shorter than the time for which late records of deleted devices are erased.
const SCOPES: usize = 100_000;
const SCOPE_AGE: Duration = Duration::from_secs(30);

/// Publishes of devices that could not be looked up.
static UNKNOWN: LogPace = LogPace::new();
/// Publishes for which there was no room.
static FULL: LogPace = LogPace::new();

/// Where the broker hands over what devices publish; cheap to clone.
#[derive(Clone)]
pub struct IngestHandle {
    queue: Arc<Queue>,
    store: Arc<dyn Store>,
    time: Arc<Steady>,
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
    /// Where times of receipt come from.
    pub time: Arc<Steady>,
}

/// The running ingest.
pub struct Ingest {
    worker: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

/// The queue before its worker is started: the broker needs the handle first, the worker needs the broker.
pub struct IngestQueue(Arc<Queue>);

impl Ingest {
    /// Makes the queue over a store.
    #[must_use]
    pub fn queue(store: Arc<dyn Store>, time: Arc<Steady>) -> (IngestHandle, IngestQueue) {
        let queue = Arc::new(Queue::default());
        (
            IngestHandle {
                queue: Arc::clone(&queue),
                store,
                time,
                scopes: Arc::default(),
            },
            IngestQueue(queue),
        )
    }

    /// Starts the worker on a queue. `grace` is how long devices that were online may take to come back.
    #[must_use]
    pub fn start(queue: IngestQueue, parts: IngestParts, grace: Duration, vital: &Vital) -> Self {
        let (stop, stopped) = oneshot::channel();
        let worker = Worker::new(queue.0, parts);
        let run = vital.watch("ingest", worker.run(stopped, grace));
        Self {
            worker: tokio::spawn(run),
            stop,
        }
    }

    /// Takes nothing new and waits until everything queued is committed. What does not make it within `limit`
    /// was not acknowledged and comes again.
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
    /// How many events wait for the worker, and how many bytes of publishes are between the broker and their
    /// commit.
    pub fn depth(&self) -> (usize, usize) {
        self.queue.depth()
    }

    /// Says whether events wait and nothing has been committed for [`STALLED`](super::STALLED).
    pub fn is_stalled(&self) -> bool {
        self.queue.progress.is_stalled(Instant::now())
    }

    /// The device's project; none for a device that does not exist (any more).
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
                    tracing::error!(%device, %error, more, "failed to look a device up; its publish is let go, the device sends it again");
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
            tracing::warn!(%device, more, "ingest queue has no room for a publish; the device sends it again");
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
            Err(error) => What::Publish(Err(format!("status: {}", clip(&error.to_string(), 256)))),
        };
        self.queue(device, payload.len(), what).await;
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
    use iottly_core::model::{Change, Principal, Project, Scopes, SecretHash, TokenId};
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
        let time = Arc::new(Steady::new(Arc::new(crate::clock::now)));
        let (handle, queue) = Ingest::queue(Arc::clone(&store), time);
        for _ in 0..2 {
            handle.message(scope.device, Bytes::from_static(b"{}")).await;
            assert!(queue.0.pop().is_some_and(|job| job.scope == scope));
        }
        let (token, scopes) = (TokenId::from_bytes([1; 16]), Scopes::ADMIN);
        let by = Principal {
            project: scope.project,
            token,
            name: "t".into(),
            scopes,
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
