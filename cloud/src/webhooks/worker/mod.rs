//! Delivery worker: a task that sends deliveries, and a task that records their outcomes.

mod client;
mod config;
mod decide;
mod identity;
mod pump;
mod recorder;
mod resolver;
mod settle;
mod undecided;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::Instrument;

pub use client::Attempted;
pub use config::WebhookConfig;
pub(crate) use identity::worker_id;
pub use resolver::{Lookup, Resolver};

use crate::clock::Clock;
use crate::critical_tasks::CriticalTasks;
use crate::live::LiveHub;
use crate::metrics::Metrics;
use client::Client;
use iottly_core::SealKey;
use iottly_core::model::{StoredMessage, Webhook, WebhookKey};
use iottly_core::webhooks::SecretError;
use iottly_core::webhooks::guard::Guard;
use iottly_core::webhooks::target::Target;
use iottly_store::webhooks::{DeliveryResult, Disposition};
use iottly_store::{ChangeStore, StoreError, WebhookStore};
use pump::{Pump, PumpParts};

/// Maximum number of outcomes that wait to be recorded; at this number, sending pauses.
const RECORDS: usize = 1024;
/// Maximum number of changed webhooks that wait to be handled.
const CHANGES: usize = 64;

/// Error of starting the delivery worker.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The initialisation of TLS failed.
    #[error("failed to initialise TLS for webhooks: {0}")]
    Tls(#[from] rustls::Error),
    /// The HTTP client could not be created.
    #[error("failed to create the HTTP client for webhooks: {0}")]
    Client(#[from] reqwest::Error),
    /// The seal key or the worker's id could not be read or created.
    #[error(transparent)]
    File(#[from] io::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Dependencies of the worker.
pub struct DelivererParts {
    /// Key that seals secrets.
    pub seal: SealKey,
    /// Store of the webhooks and their deliveries.
    pub store: Arc<dyn WebhookStore>,
    /// Store in which the worker disables webhooks.
    pub changes: Arc<dyn ChangeStore>,
    /// Hub that tells pages of outcomes.
    pub live: Arc<LiveHub>,
    /// Metrics of the deliveries.
    pub metrics: Arc<Metrics>,
    /// Settings of the operator.
    pub config: WebhookConfig,
}

/// Running worker.
pub struct Deliverer {
    pump: JoinHandle<()>,
    recorder: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

/// Handle of the worker for request handlers; cheap to clone.
#[derive(Clone)]
pub struct DelivererHandle {
    client: Arc<Client>,
    seal: Arc<SealKey>,
    guard: Guard,
    clock: Clock,
    changes: mpsc::Sender<WebhookKey>,
    /// Weak, so that the recorder ends when the pump ends.
    records: mpsc::WeakSender<DeliveryResult>,
}

impl Deliverer {
    /// Starts to send. Deliveries that a former process of this data folder had claimed are sent at once.
    ///
    /// # Errors
    /// When a file of the folder is unusable, the initialisation of TLS fails, or the store fails.
    pub(crate) async fn start(
        data: &Path,
        parts: DelivererParts,
        patience: Duration,
        critical: &CriticalTasks,
    ) -> Result<(Self, DelivererHandle), SetupError> {
        let DelivererParts {
            seal,
            store,
            changes: change_store,
            live,
            metrics,
            config,
        } = parts;
        let (guard, clock) = (config.guard(), config.clock.clone());
        let seal = Arc::new(seal);
        let worker = worker_id(&data.join("worker.id"))?;
        let client = Arc::new(Client::new(
            config.guarded_resolver(),
            &config.roots,
            clock.clone(),
        )?);
        let released = store.release(worker, clock()).await?;
        if released > 0 {
            tracing::info!(
                deliveries.released = released,
                "sending again what the previous process had claimed"
            );
        }
        let (records, recorded) = mpsc::channel(RECORDS);
        let (changes, changed) = mpsc::channel(CHANGES);
        let (stop, stopped) = oneshot::channel();
        let recorder = tokio::spawn(critical.watch(
            "webhook recorder",
            recorder::record(Arc::clone(&store), live, worker, recorded),
        ));
        let handle = DelivererHandle {
            client: Arc::clone(&client),
            seal: Arc::clone(&seal),
            guard: guard.clone(),
            clock: clock.clone(),
            changes,
            records: records.downgrade(),
        };
        let pump = Pump::new(PumpParts {
            store,
            changes: change_store,
            client,
            seal,
            guard,
            metrics,
            clock,
            worker,
            records,
        });
        let pump = tokio::spawn(critical.watch("webhook sender", pump.run(changed, stopped, patience)));
        Ok((Self { pump, recorder, stop }, handle))
    }

    /// Stops sending, waits for the requests in progress and records their outcomes.
    pub async fn finish(mut self, limit: Duration) {
        // Fails only when the pump has already ended.
        let _ = self.stop.send(());
        let both = async { (&mut self.pump).await.and((&mut self.recorder).await) };
        if tokio::time::timeout(limit, both).await.is_err() {
            tracing::warn!("failed to record all deliveries in time; the unrecorded ones will be sent again");
            self.pump.abort();
            self.recorder.abort();
        }
    }
}

impl DelivererHandle {
    /// Returns the key that seals the secrets of webhooks.
    #[must_use]
    pub fn seal(&self) -> &SealKey {
        &self.seal
    }

    /// Returns the guard for the addresses of requests.
    #[must_use]
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Reports that a webhook has changed, or has deliveries that are due.
    pub async fn changed(&self, key: WebhookKey) {
        // Fails only while the cloud stops.
        let _ = self.changes.send(key).await;
    }

    /// Sends a message to a webhook at once, independently of its queue, and logs the attempt without a
    /// device.
    ///
    /// # Errors
    /// When the webhook's secrets cannot be unsealed.
    pub async fn test(&self, hook: &Webhook, message: &StoredMessage) -> Result<Attempted, SecretError> {
        let target = Target::open(hook, &self.seal, &self.guard)?;
        let span = client::span(target.key, message.id, 1);
        let attempt = self.client.attempt(&target, message, 1);
        let mut attempted = attempt.instrument(span).await;
        attempted.record.device = None;
        if let Some(records) = self.records.upgrade() {
            let result = DeliveryResult {
                key: target.key,
                message: message.id,
                device: None,
                timestamp: message.timestamp,
                disposition: Disposition::Nothing,
                attempt: Some(attempted.record.clone()),
                health: None,
                announce: false,
            };
            // Fails only while the cloud stops.
            let _ = records.send(result).await;
        }
        Ok(attempted)
    }

    /// Returns the time of the worker's clock.
    #[must_use]
    pub fn now(&self) -> iottly_core::model::UnixMs {
        (self.clock)()
    }
}
