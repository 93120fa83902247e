//! The worker: a task that sends, and a task that records what came of it.

mod client;
mod config;
mod decide;
mod identity;
mod pump;
mod recorder;
mod resolver;
mod undecided;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

pub use client::Attempted;
pub use config::WebhookConfig;
pub use resolver::{Lookup, Resolver};

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::vital::Vital;
use client::Client;
use iottly_core::model::{HookKey, StoredMessage, Webhook};
use iottly_core::seal::SealKey;
use iottly_core::webhooks::guard::Guard;
use iottly_core::webhooks::target::{SecretError, Target};
use iottly_store::webhooks::{Settled, Then};
use iottly_store::{Store, StoreError};
use pump::{Pump, PumpParts};

/// Most outcomes that wait to be recorded; then nothing more is sent until they are.
const RECORDS: usize = 1024;
/// Most changes of hooks that wait to be seen.
const CHANGES: usize = 64;

/// Why webhooks do not start.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// TLS cannot be set up.
    #[error("tls: {0}")]
    Tls(#[from] rustls::Error),
    /// The client cannot be built.
    #[error("http client: {0}")]
    Client(#[from] reqwest::Error),
    /// The seal key or the worker's id cannot be read or made.
    #[error(transparent)]
    File(#[from] io::Error),
    /// The database is unusable.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the worker works with.
pub struct DelivererParts {
    /// Where deliveries come from.
    pub store: Arc<dyn Store>,
    /// Numbers about it.
    pub metrics: Arc<Metrics>,
    /// What the operator decided.
    pub config: WebhookConfig,
}

/// The running worker.
pub struct Deliverer {
    pump: JoinHandle<()>,
    recorder: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

/// What request handlers use of it; cheap to clone.
#[derive(Clone)]
pub struct DelivererHandle {
    client: Arc<Client>,
    seal: Arc<SealKey>,
    guard: Guard,
    clock: Clock,
    changes: mpsc::Sender<HookKey>,
    /// Weak, so that the recorder ends when the pump does.
    records: mpsc::WeakSender<Settled>,
}

impl Deliverer {
    /// Starts to send. What a former process of this data folder had claimed is sent at once.
    ///
    /// # Errors
    /// When a file of the folder is unusable, TLS cannot be set up or the store fails.
    pub(crate) async fn start(
        data: &Path,
        parts: DelivererParts,
        patience: Duration,
        vital: &Vital,
    ) -> Result<(Self, DelivererHandle), SetupError> {
        let DelivererParts {
            store,
            metrics,
            config,
        } = parts;
        let (guard, clock) = (config.guard(), config.clock.clone());
        let seal_key = config.seal_key.clone().unwrap_or_else(|| data.join("seal.key"));
        let seal = Arc::new(crate::seal_file::open(&seal_key)?);
        let worker = identity::worker_id(&data.join("worker.id"))?;
        let client = Arc::new(Client::new(
            config.guarded_resolver(),
            &config.roots,
            clock.clone(),
        )?);
        let released = store.release(worker, clock()).await?;
        if released > 0 {
            tracing::info!(released, "deliveries of the process before are sent again");
        }
        let (records, recorded) = mpsc::channel(RECORDS);
        let (changes, changed) = mpsc::channel(CHANGES);
        let (stop, stopped) = oneshot::channel();
        let recorder = tokio::spawn(vital.watch(
            "record of webhooks",
            recorder::record(Arc::clone(&store), worker, recorded),
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
            client,
            seal,
            guard,
            metrics,
            clock,
            worker,
            records,
        });
        let pump = tokio::spawn(vital.watch("sending of webhooks", pump.run(changed, stopped, patience)));
        Ok((Self { pump, recorder, stop }, handle))
    }

    /// Sends nothing new, waits for what is under way and records it.
    pub async fn finish(mut self, limit: Duration) {
        // Fails only when the pump is gone already.
        let _ = self.stop.send(());
        let both = async { (&mut self.pump).await.and((&mut self.recorder).await) };
        if tokio::time::timeout(limit, both).await.is_err() {
            tracing::warn!("deliveries were not recorded in time, they are sent again");
            self.pump.abort();
            self.recorder.abort();
        }
    }
}

impl DelivererHandle {
    /// Seals secrets of hooks.
    #[must_use]
    pub fn seal(&self) -> &SealKey {
        &self.seal
    }

    /// Decides about addresses.
    #[must_use]
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// A hook is different now, or has deliveries that are due.
    pub async fn changed(&self, key: HookKey) {
        // Fails only when the cloud stops.
        let _ = self.changes.send(key).await;
    }

    /// Sends one message to a hook at once, beside its queue, and logs it as an attempt of nobody's message.
    ///
    /// # Errors
    /// When the hook's secrets do not open.
    pub async fn test(&self, hook: &Webhook, message: &StoredMessage) -> Result<Attempted, SecretError> {
        let target = Target::open(hook, &self.seal, &self.guard)?;
        let mut attempted = self.client.attempt(&target, message, 1).await;
        attempted.record.device = None;
        if let Some(records) = self.records.upgrade() {
            let settled = Settled {
                key: target.key,
                message: message.id,
                device: None,
                timestamp: message.timestamp,
                then: Then::Nothing,
                attempt: Some(attempted.record.clone()),
                health: None,
                announce: false,
            };
            // Fails only when the cloud stops.
            let _ = records.send(settled).await;
        }
        Ok(attempted)
    }

    /// The time as the worker sees it.
    #[must_use]
    pub fn now(&self) -> iottly_core::model::UnixMs {
        (self.clock)()
    }
}
