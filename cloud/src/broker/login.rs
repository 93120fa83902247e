//! Authenticates devices against the secrets in the store.

use std::sync::Arc;

use async_trait::async_trait;
use iottly_protocol::DeviceId;

use super::Authenticator;
use iottly_core::model::{Scope, SecretHash};
use iottly_store::{DeviceStore, StoreError};

/// Admits devices by the secret whose hash is in the store.
pub struct StoreLogin {
    store: Arc<dyn DeviceStore>,
}

impl StoreLogin {
    /// Creates an authenticator over a store.
    #[must_use]
    pub fn new(store: Arc<dyn DeviceStore>) -> Self {
        Self { store }
    }
}

#[async_trait]
impl Authenticator for StoreLogin {
    async fn authenticate(&self, device: DeviceId, secret: &[u8]) -> Result<Option<Scope>, StoreError> {
        let given = SecretHash::of(secret);
        let found = self.store.device_credentials(device).await?;
        Ok(found.and_then(|(scope, hash)| hash.matches(&given).then_some(scope)))
    }
}
