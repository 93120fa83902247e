//! Public keys and the verification of one signature. Thresholds are in `envelope`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::VerifyingKey;
use p256::ecdsa::signature::Verifier as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::hex;

/// Signature schemes whose keys count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schemes {
    ecdsa_p256: bool,
}

impl Schemes {
    /// Default of a device: ed25519 alone.
    pub const ED25519: Self = Self { ecdsa_p256: false };
    /// ed25519 and ecdsa-sha2-nistp256, for keys held in security modules and key services.
    pub const WITH_P256: Self = Self { ecdsa_p256: true };
}

/// Public key as metadata carries it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Key {
    /// Type of the key: `ed25519`, `ecdsa`, or one that this version does not know.
    pub keytype: String,
    /// Signature scheme.
    pub scheme: String,
    /// Public part.
    pub keyval: KeyVal,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// Public part of a [`Key`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyVal {
    /// Text of the key: 64 hex digits for ed25519, PEM for ecdsa.
    pub public: String,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// Key that is ready to verify.
pub(super) enum Verifier {
    Ed25519(VerifyingKey),
    P256(Box<p256::ecdsa::VerifyingKey>),
}

impl Key {
    /// Returns the key for an ed25519 public key.
    #[must_use]
    pub fn ed25519(public: &[u8; 32]) -> Self {
        let keyval = KeyVal {
            public: hex::encode(public),
            extra: BTreeMap::new(),
        };
        Self {
            keytype: "ed25519".to_owned(),
            scheme: "ed25519".to_owned(),
            keyval,
            extra: BTreeMap::new(),
        }
    }

    /// Returns the id that the specification derives from the key: the sha256 of its canonical form.
    #[must_use]
    pub fn id(&self) -> String {
        let value = serde_json::to_value(self).expect("a key has string keys");
        super::sha256_hex(&super::canonical_value(&value).unwrap_or_default())
    }

    /// Returns true if a signature, in hex digits, is this key's over the message. Only ed25519 counts.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &str) -> bool {
        self.verifier(Schemes::ED25519)
            .is_some_and(|verifier| verifier.verify(message, signature))
    }

    /// Prepares the key for verification; none if its scheme does not count or its public part is malformed.
    pub(super) fn verifier(&self, schemes: Schemes) -> Option<Verifier> {
        match (self.keytype.as_str(), self.scheme.as_str()) {
            ("ed25519", "ed25519") => {
                let bytes: [u8; 32] = hex::decode(&self.keyval.public)?.try_into().ok()?;
                let key = VerifyingKey::from_bytes(&bytes).ok()?;
                // A key has one encoding, and none of its signatures may hold for many messages.
                let strict = key.as_bytes() == &bytes && is_canonical(&bytes) && !key.is_weak();
                strict.then_some(Verifier::Ed25519(key))
            }
            ("ecdsa" | "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256") if schemes.ecdsa_p256 => {
                let point = p256_point(&self.keyval.public)?;
                Some(Verifier::P256(Box::new(
                    p256::ecdsa::VerifyingKey::from_sec1_bytes(&point).ok()?,
                )))
            }
            _ => None,
        }
    }
}

/// Returns true if 32 bytes are the one encoding of the point they name: its y below 2^255 - 19, and no sign
/// on an x of zero (those points are of small order, which is refused apart from this).
fn is_canonical(bytes: &[u8; 32]) -> bool {
    let top = bytes[31] & 0x7f;
    !(bytes[0] >= 0xed && bytes[1..31].iter().all(|byte| *byte == 0xff) && top == 0x7f)
}

/// Returns the SEC1 point in a PEM block "PUBLIC KEY" for the curve P-256.
fn p256_point(pem: &str) -> Option<[u8; 65]> {
    /// SubjectPublicKeyInfo of an uncompressed point on P-256 up to the point itself (RFC 5480).
    const PREFIX: [u8; 26] = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
        0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ];
    let body = pem
        .trim()
        .strip_prefix("-----BEGIN PUBLIC KEY-----")?
        .strip_suffix("-----END PUBLIC KEY-----")?;
    let text: String = body.split_ascii_whitespace().collect();
    let der = STANDARD.decode(text).ok()?;
    let point: [u8; 65] = der.strip_prefix(&PREFIX)?.try_into().ok()?;
    (point[0] == 4).then_some(point)
}

impl Verifier {
    /// Returns true if a signature, hex as metadata carries it, is this key's over the message.
    pub(super) fn verify(&self, message: &[u8], signature: &str) -> bool {
        let Some(bytes) = hex::decode(signature) else {
            return false;
        };
        match self {
            // Strict: `s` below the group order, the equation without cofactor, and neither key nor `R` of
            // small order.
            Self::Ed25519(key) => ed25519_dalek::Signature::from_slice(&bytes).is_ok_and(|signature| {
                is_canonical(signature.r_bytes()) && key.verify_strict(message, &signature).is_ok()
            }),
            Self::P256(key) => p256::ecdsa::Signature::from_der(&bytes)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
        }
    }

    /// Returns bytes that identify the key, whatever id it is listed under.
    pub(super) fn identity(&self) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => key.as_bytes().to_vec(),
            Self::P256(key) => key.to_sec1_point(false).as_bytes().to_vec(),
        }
    }
}
