//! Authenticates devices against the secrets in the store.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use iottly_protocol::DeviceId;

use super::Authenticator;
use crate::clock;
use crate::refusals::RefusalBook;
use iottly_core::model::{Scope, SecretHash, UnixMs};
use iottly_core::refusals::RefusedStep;
use iottly_store::{EnrolmentStore, StoreError};

/// Admits devices by the secret whose hash is in the store.
pub struct StoreLogin {
    store: Arc<dyn EnrolmentStore>,
    refusals: Arc<RefusalBook>,
}

impl StoreLogin {
    /// Creates an authenticator over a store, which notes refusals in a book.
    #[must_use]
    pub fn new(store: Arc<dyn EnrolmentStore>, refusals: Arc<RefusalBook>) -> Self {
        Self { store, refusals }
    }
}

#[async_trait]
impl Authenticator for StoreLogin {
    async fn authenticate(&self, device: DeviceId, secret: &[u8]) -> Result<Option<Scope>, StoreError> {
        login_of(self.store.as_ref(), device, &SecretHash::of(secret), clock::now()).await
    }

    /// Notes the refusal if the device exists: ids that strangers make up leave no trace.
    async fn refused(&self, device: DeviceId, from: IpAddr, reason: &str) {
        match self.store.login_secrets(device, clock::now()).await {
            Ok(Some((scope, _))) => self.refusals.device(scope, from, RefusedStep::Login, reason),
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(device.id = %device, %error, "failed to read a device; its refusal is not shown");
            }
        }
    }

    fn admitted(&self, device: DeviceId) {
        self.refusals.admitted(device);
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
