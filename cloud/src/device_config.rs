//! Brings the settings of devices to them.

use std::sync::Arc;

use iottly_protocol::Down;
use tokio::sync::Mutex;

use crate::broker::Broker;
use iottly_core::model::Scope;
use iottly_store::{Store, StoreError};

/// Locks that the devices share; two devices with the same one wait for each other for one look-up.
const TURNS: usize = 64;

/// Sends devices their settings.
pub struct DeviceConfigs {
    store: Arc<dyn Store>,
    broker: Arc<dyn Broker>,
    /// Held from reading to handing over, so that an older version never overtakes a newer one.
    turns: [Mutex<()>; TURNS],
}

impl DeviceConfigs {
    /// Over a store and a broker.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, broker: Arc<dyn Broker>) -> Self {
        Self {
            store,
            broker,
            turns: std::array::from_fn(|_| Mutex::new(())),
        }
    }

    /// Sends a device what is set for it, if anything is. A device that is not there gets it after its next
    /// hello.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn send(&self, scope: Scope) -> Result<(), StoreError> {
        let byte = scope
            .device
            .as_bytes()
            .iter()
            .fold(0u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte));
        let _turn = self.turns[usize::from(byte) % TURNS].lock().await;
        let Some((config, _)) = self
            .store
            .device_config(scope)
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
            tracing::debug!(device = %scope.device, version, %error, "settings wait for the next hello");
        }
        Ok(())
    }
}
