//! Authenticates devices against the secrets in the store.

use std::sync::Arc;

use async_trait::async_trait;
use iottly_protocol::DeviceId;

use super::Authenticator;
use crate::clock;
use iottly_core::model::{Scope, SecretHash, UnixMs};
use iottly_store::{EnrolmentStore, StoreError};

/// Admits devices by the secret whose hash is in the store.
pub struct StoreLogin {
    store: Arc<dyn EnrolmentStore>,
}

impl StoreLogin {
    /// Creates an authenticator over a store.
    #[must_use]
    pub fn new(store: Arc<dyn EnrolmentStore>) -> Self {
        Self { store }
    }
}

#[async_trait]
impl Authenticator for StoreLogin {
    async fn authenticate(&self, device: DeviceId, secret: &[u8]) -> Result<Option<Scope>, StoreError> {
        login_of(self.store.as_ref(), device, &SecretHash::of(secret), clock::now()).await
    }
}

/// Returns the device whose secret has this hash; `None` if it has no such secret, or none that is valid.
///
/// # Errors
/// If the store fails.
pub async fn login_of<S: EnrolmentStore + ?Sized>(
    store: &S,
    device: DeviceId,
    given: &SecretHash,
    now: UnixMs,
) -> Result<Option<Scope>, StoreError> {
    let found = store.login_secrets(device, now).await?;
    // Every hash is compared, so that the time does not tell which one matches.
    Ok(found.and_then(|(scope, hashes)| {
        let matches = hashes
            .iter()
            .fold(false, |matches, hash| hash.matches(given) | matches);
        matches.then_some(scope)
    }))
}
