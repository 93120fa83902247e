use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey};
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
    Ed25519([u8; 32]),
    P256([u8; 65]),
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
            ("ed25519", "ed25519") => {
                let key: [u8; 32] = hex::decode(&self.keyval.public)?.try_into().ok()?;
                is_strict_point(&key).then_some(Verifier::Ed25519(key))
            }
            ("ecdsa" | "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256") if schemes.ecdsa_p256 => {
                Some(Verifier::P256(p256_point(&self.keyval.public)?))
            }
            _ => None,
        }
    }
}

/// Says whether 32 bytes are the one encoding of a point that is not of small order. Whether there is such a point at all,
/// the verification itself finds out.
fn is_strict_point(bytes: &[u8; 32]) -> bool {
    /// The y of the points of small order, little-endian without the sign: 0, 1, -1, and the two of order 8.
    const SMALL: [[u8; 32]; 5] = [
        [0; 32],
        {
            let mut one = [0; 32];
            one[0] = 1;
            one
        },
        {
            let mut minus_one = [0xff; 32];
            (minus_one[0], minus_one[31]) = (0xec, 0x7f);
            minus_one
        },
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac,
            0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53,
            0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
    ];
    let mut y = *bytes;
    y[31] &= 0x7f;
    // Not below 2^255 - 19: the same point has a smaller encoding.
    let reduced = !(y[0] >= 0xed && y[1..31].iter().all(|byte| *byte == 0xff) && y[31] == 0x7f);
    reduced && !SMALL.contains(&y)
}

/// The SEC1 point in a PEM block "PUBLIC KEY" for the curve P-256.
fn p256_point(pem: &str) -> Option<[u8; 65]> {
    /// SubjectPublicKeyInfo of an uncompressed point on P-256 up to the point itself (RFC 5480).
    const PREFIX: [u8; 26] = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d,
        0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ];
    let body = pem.trim().strip_prefix("-----BEGIN PUBLIC KEY-----")?.strip_suffix("-----END PUBLIC KEY-----")?;
    let text: String = body.split_ascii_whitespace().collect();
    let der = STANDARD.decode(text).ok()?;
    let point: [u8; 65] = der.strip_prefix(&PREFIX)?.try_into().ok()?;
    (point[0] == 4).then_some(point)
}

impl Verifier {
    /// Says whether a signature, hex as metadata carries it, is this key's over the message.
    pub(super) fn verify(&self, message: &[u8], signature: &str) -> bool {
        let Some(bytes) = hex::decode(signature) else { return false };
        match self {
            Self::Ed25519(key) => {
                // ring holds `s` below the group order and compares `R` byte by byte, in the equation without cofactor; what is
                // missing for the strict rule are points of small order.
                let strict = bytes.first_chunk::<32>().is_some_and(is_strict_point);
                strict && UnparsedPublicKey::new(&ED25519, key).verify(message, &bytes).is_ok()
            }
            Self::P256(key) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key).verify(message, &bytes).is_ok(),
        }
    }

    /// What makes the key this key and no other, whatever id it goes under.
    pub(super) fn identity(&self) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => key.to_vec(),
            Self::P256(key) => key.to_vec(),
        }
    }
}
