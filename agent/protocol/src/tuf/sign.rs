//! Signing of metadata and directives, for the cloud, the command line and tests; not part of a device.

use std::fmt;

use ed25519_dalek::Signer as _;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Key, Signature, canonical_value, hex};

/// ed25519 key that signs. Its secret is never printed.
#[derive(Clone)]
pub struct SigningKey {
    pair: ed25519_dalek::SigningKey,
}

impl SigningKey {
    /// Returns the key with this secret, 32 bytes from a source of randomness.
    #[must_use]
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self {
            pair: ed25519_dalek::SigningKey::from_bytes(secret),
        }
    }

    /// Returns the secret, to be stored sealed.
    #[must_use]
    pub fn secret(&self) -> &[u8; 32] {
        self.pair.as_bytes()
    }

    /// Returns the public key as metadata carries it.
    #[must_use]
    pub fn public(&self) -> Key {
        Key::ed25519(self.pair.verifying_key().as_bytes())
    }

    /// Signs a message under the key's own id.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        let sig = hex::encode(&self.pair.sign(message).to_bytes());
        Signature {
            keyid: self.public().id(),
            sig,
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public().id())
    }
}

/// Returns metadata as a document, signed with every given key.
///
/// # Errors
/// The metadata has a fraction in it, which the canonical form does not know.
pub fn sign(payload: &impl Serialize, keys: &[&SigningKey]) -> Result<Vec<u8>, serde_json::Error> {
    sign_value(&serde_json::to_value(payload)?, keys)
}

/// Signs a document that is JSON already; see [`sign`].
///
/// # Errors
/// The document has a fraction in it.
pub fn sign_value(signed: &Value, keys: &[&SigningKey]) -> Result<Vec<u8>, serde_json::Error> {
    let message = canonical_value(signed)?;
    let signatures: Vec<_> = keys.iter().map(|key| key.sign(&message)).collect();
    serde_json::to_vec(&json!({"signatures": signatures, "signed": signed}))
}
