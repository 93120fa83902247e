//! Sealing and unsealing of a webhook's secret and headers, which are stored sealed.

use super::sign::Secret;
use crate::model::{Webhook, WebhookId};
use crate::seal::{SealError, SealKey, SealNonce, Sealed};

/// Error of sealing or unsealing a webhook's secrets.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The secret was sealed with another key, or is damaged.
    #[error("{what} of webhook {hook} cannot be unsealed with this cloud's seal key")]
    Sealed {
        /// The secret, or the headers.
        what: &'static str,
        /// The webhook.
        hook: WebhookId,
    },
    /// Sealing failed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// Names and values of headers.
pub type HeaderList = Vec<(String, String)>;

/// Seals a webhook's headers.
///
/// # Errors
/// If the cipher does not accept so much.
pub fn sealed_headers(
    seal: &SealKey,
    hook: WebhookId,
    headers: &HeaderList,
    nonce: SealNonce,
) -> Result<Sealed, SecretError> {
    let text = serde_json::to_vec(headers).expect("texts serialize without failing");
    Ok(seal.seal(&headers_label(hook), &text, nonce)?)
}

/// Seals a webhook's secret.
///
/// # Errors
/// If the cipher does not accept so much.
pub fn sealed_secret(
    seal: &SealKey,
    hook: WebhookId,
    secret: &Secret,
    nonce: SealNonce,
) -> Result<Sealed, SecretError> {
    Ok(seal.seal(&secret_label(hook), secret.bytes(), nonce)?)
}

/// Unseals a webhook's headers.
///
/// # Errors
/// When they were sealed with another key.
pub fn open_headers(seal: &SealKey, hook: &Webhook) -> Result<HeaderList, SecretError> {
    let text = seal.unseal(&headers_label(hook.key.hook), &hook.headers);
    let headers = text.and_then(|text| serde_json::from_slice(&text).ok());
    headers.ok_or(SecretError::Sealed {
        what: "headers",
        hook: hook.key.hook,
    })
}

/// Unseals a webhook's secret.
///
/// # Errors
/// When it was sealed with another key.
pub(super) fn open_secret(seal: &SealKey, hook: WebhookId, sealed: &Sealed) -> Result<Secret, SecretError> {
    let secret = seal
        .unseal(&secret_label(hook), sealed)
        .and_then(Secret::from_bytes);
    secret.ok_or(SecretError::Sealed { what: "secret", hook })
}

fn secret_label(hook: WebhookId) -> String {
    format!("webhook secret {hook}")
}

fn headers_label(hook: WebhookId) -> String {
    format!("webhook headers {hook}")
}
