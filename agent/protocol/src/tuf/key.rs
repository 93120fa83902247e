use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::hex;

/// Signature schemes whose keys count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schemes {
    ecdsa_p256: bool,
}

impl Schemes {
    /// What a device trusts unless told otherwise: ed25519 alone.
    pub const ED25519: Self = Self { ecdsa_p256: false };
    /// ed25519 and ecdsa-sha2-nistp256, for keys held in security modules and key services.
    pub const WITH_P256: Self = Self { ecdsa_p256: true };
}

/// A public key as metadata carries it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Key {
    /// The key's type: `ed25519`, `ecdsa`, or one that is not known here.
    pub keytype: String,
    /// The signature scheme.
    pub scheme: String,
    /// The public part.
    pub keyval: KeyVal,
    /// Fields that are not known here.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// The public part of a [`Key`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyVal {
    /// ed25519: 64 hex digits; ecdsa: PEM.
    pub public: String,
    /// Fields that are not known here.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// A key that can verify.
pub(super) enum Verifier {
    Ed25519(ed25519_dalek::VerifyingKey),
    P256(Box<p256::ecdsa::VerifyingKey>),
}

impl Key {
    /// The key for an ed25519 public key.
    #[must_use]
    pub fn ed25519(public: &[u8; 32]) -> Self {
        let keyval = KeyVal { public: hex::encode(public), extra: BTreeMap::new() };
        Self { keytype: "ed25519".to_owned(), scheme: "ed25519".to_owned(), keyval, extra: BTreeMap::new() }
    }

    /// The id that the specification derives from the key: the sha256 of its canonical form.
    #[must_use]
    pub fn id(&self) -> String {
        let value = serde_json::to_value(self).expect("a key has string keys");
        super::sha256_hex(&super::canonical_value(&value).unwrap_or_default())
    }

    /// Makes the key ready to verify; none when its scheme does not count or its public part is malformed.
    pub(super) fn verifier(&self, schemes: Schemes) -> Option<Verifier> {
        match (self.keytype.as_str(), self.scheme.as_str()) {
            ("ed25519", "ed25519") => ed25519(&hex::decode(&self.keyval.public)?).map(Verifier::Ed25519),
            ("ecdsa" | "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256") if schemes.ecdsa_p256 => {
                let point = p256_point(&self.keyval.public)?;
                let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&point).ok()?;
                Some(Verifier::P256(Box::new(key)))
            }
            _ => None,
        }
    }
}

fn ed25519(bytes: &[u8]) -> Option<ed25519_dalek::VerifyingKey> {
    let bytes: [u8; 32] = bytes.try_into().ok()?;
    let key = ed25519_dalek::VerifyingKey::from_bytes(&bytes).ok()?;
    // One key has one encoding; `verify_strict` refuses keys of small order.
    (key.to_edwards().compress().as_bytes() == &bytes && !key.is_weak()).then_some(key)
}

/// The SEC1 point in a PEM block "PUBLIC KEY" for the curve P-256.
fn p256_point(pem: &str) -> Option<Vec<u8>> {
    /// SubjectPublicKeyInfo of an uncompressed point on P-256 up to the point itself (RFC 5480).
    const PREFIX: [u8; 26] = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d,
        0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ];
    let body = pem.trim().strip_prefix("-----BEGIN PUBLIC KEY-----")?.strip_suffix("-----END PUBLIC KEY-----")?;
    let text: String = body.split_ascii_whitespace().collect();
    let der = STANDARD.decode(text).ok()?;
    let point = der.strip_prefix(&PREFIX)?;
    (point.len() == 65 && point[0] == 4).then(|| point.to_vec())
}

impl Verifier {
    /// Says whether a signature, hex as metadata carries it, is this key's over the message.
    pub(super) fn verify(&self, message: &[u8], signature: &str) -> bool {
        let Some(bytes) = hex::decode(signature) else { return false };
        match self {
            Self::Ed25519(key) => match ed25519_dalek::Signature::from_slice(&bytes) {
                Ok(signature) => key.verify_strict(message, &signature).is_ok(),
                Err(_) => false,
            },
            Self::P256(key) => match p256::ecdsa::Signature::from_der(&bytes) {
                Ok(signature) => p256::ecdsa::signature::Verifier::verify(key.as_ref(), message, &signature).is_ok(),
                Err(_) => false,
            },
        }
    }

    /// What makes the key this key and no other, whatever id it goes under.
    pub(super) fn identity(&self) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => key.as_bytes().to_vec(),
            Self::P256(key) => key.to_sec1_point(false).as_bytes().to_vec(),
        }
    }
}
