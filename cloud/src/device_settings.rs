//! Service that sends devices their settings.

use std::sync::Arc;

use iottly_protocol::Down;
use tokio::sync::Mutex;

use crate::broker::Broker;
use iottly_core::model::Scope;
use iottly_store::{DeviceStore, StoreError};

/// Number of locks that the devices share; two devices with the same lock wait for each other for one query.
const TURNS: usize = 64;

/// Sends devices their settings.
pub struct DeviceSettingsService {
    store: Arc<dyn DeviceStore>,
    broker: Arc<dyn Broker>,
    /// Locks held from reading to sending, so that an older version never overtakes a newer one.
    turns: [Mutex<()>; TURNS],
}

impl DeviceSettingsService {
    /// Creates the service over a store and a broker.
    #[must_use]
    pub fn new(store: Arc<dyn DeviceStore>, broker: Arc<dyn Broker>) -> Self {
        Self {
            store,
            broker,
            turns: std::array::from_fn(|_| Mutex::new(())),
        }
    }

    /// Sends a device its settings, if any are set. An offline device is sent them after its next hello.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn send(&self, scope: Scope) -> Result<(), StoreError> {
        let byte = scope
            .device
            .as_bytes()
            .iter()
            .fold(0u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte));
        let _turn = self.turns[usize::from(byte) % TURNS].lock().await;
        let Some((config, _)) = self
            .store
            .device_settings(scope)
            .await?
            .and_then(|state| state.desired)
        else {
            return Ok(());
        };
        let version = config.version;
        if let Err(error) = self
            .broker
            .publish(scope.device, Down::Config(config).encode().into())
            .await
        {
            tracing::debug!(device.id = %scope.device, settings.version = version, %error, "failed to send settings; they wait for the next hello");
        }
        Ok(())
    }
}
