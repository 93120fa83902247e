//! Health of devices: takes their reports, stores the latest of each, and tells pages. What a report means is in
//! `iottly_core::health`.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use iottly_core::RateLimitedLog;
use iottly_core::health::DeviceHealth;
use iottly_core::model::{Scope, UnixMs};
use iottly_core::rate::RateLimit;
use iottly_protocol::DeviceId;
use iottly_protocol::health::HealthMessage;
use iottly_store::Store;
use tokio::sync::Notify;

use crate::clock;
use crate::live::{LiveHub, Parts};

/// Maximum number of reports of a device in a minute: twice as many as an agent sends. Further ones are dropped.
const REPORTS: NonZeroU32 = NonZeroU32::new(12).expect("not zero");
/// Maximum number of devices whose reports wait to be stored; those of further ones are dropped until there is room.
const MAX_WAITING: usize = 20_000;
/// Interval at which reports are stored: those that come meanwhile are stored together.
const EVERY: Duration = Duration::from_secs(1);
/// Maximum number of reports in one transaction.
const BATCH: usize = 200;
/// Pause after reports could not be stored.
const RETRY: Duration = Duration::from_secs(5);

/// Rate limit of the log line about reports that could not be stored.
static FAILED: RateLimitedLog = RateLimitedLog::new();

/// Service of the health of devices.
pub struct HealthService {
    store: Arc<dyn Store>,
    live: Arc<LiveHub>,
    reports: RateLimit<DeviceId>,
    /// Latest reports that are not stored yet.
    waiting: Mutex<BTreeMap<Scope, DeviceHealth>>,
    wake: Notify,
}

impl HealthService {
    /// Creates the service.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, live: Arc<LiveHub>) -> Self {
        Self {
            store,
            live,
            reports: RateLimit::per_minute(REPORTS),
            waiting: Mutex::default(),
            wake: Notify::new(),
        }
    }

    /// Returns the latest report of a device; none if it never sent one.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn of(&self, scope: Scope) -> iottly_store::Result<Option<DeviceHealth>> {
        self.store.device_health(scope).await
    }

    /// Returns true if a report of a device is within its rate.
    pub(crate) fn admits(&self, device: DeviceId) -> bool {
        self.reports.ask(device, clock::steady_ms()).allowed
    }

    /// Takes a message about its health from a device.
    pub(crate) fn arrived(&self, scope: Scope, payload: &[u8], at: UnixMs) {
        let report = match HealthMessage::decode(payload) {
            Ok(HealthMessage::Report(report)) => report,
            Err(error) => {
                tracing::debug!(device.id = %scope.device, %error, "failed to decode a report about a device's health; skipping it");
                return;
            }
        };
        let mut waiting = self.waiting();
        if waiting.len() < MAX_WAITING || waiting.contains_key(&scope) {
            waiting.insert(scope, DeviceHealth { report, at });
            drop(waiting);
            self.wake.notify_one();
        }
    }

    /// Stores reports as they come.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            self.wake.notified().await;
            tokio::time::sleep(EVERY).await;
            while let Err(error) = self.flush().await {
                if let Some(more) = FAILED.ask(std::time::Instant::now()) {
                    tracing::warn!(%error, retry_s = RETRY.as_secs(), suppressed_lines = more, "failed to store reports about the health of devices; retrying");
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Stores all reports that wait, in steps. What could not be stored waits on.
    pub(crate) async fn flush(&self) -> iottly_store::Result<()> {
        loop {
            let batch: Vec<_> = (self.waiting().iter())
                .take(BATCH)
                .map(|(scope, health)| (*scope, health.clone()))
                .collect();
            if batch.is_empty() {
                return Ok(());
            }
            self.store.put_health(&batch).await?;
            let mut waiting = self.waiting();
            for (scope, stored) in &batch {
                // A newer one may have come meanwhile.
                if waiting.get(scope) == Some(stored) {
                    waiting.remove(scope);
                }
            }
            drop(waiting);
            for (scope, _) in batch {
                self.live
                    .changed(scope.project, Some(scope.device), Parts::HEALTH);
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<Scope, DeviceHealth>> {
        // Every change of the table is complete or was not begun.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
