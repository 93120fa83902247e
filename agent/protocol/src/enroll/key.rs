//! Keys of a device: ed25519, by which the cloud knows it, and X25519, with which values are sealed for it.

use std::fmt;
use std::str::FromStr;

use curve25519_dalek::MontgomeryPoint;
use ed25519_dalek::{Signer as _, SigningKey};

use super::hex;
use crate::tuf::Key;

/// Reason why a text is not a key or a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(&'static str);

impl KeyError {
    pub(super) const fn new(reason: &'static str) -> Self {
        Self(reason)
    }
}

/// Defines bytes with one text form: lower-case hex digits.
macro_rules! hex_bytes {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $error:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// Returns the value of these bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $bytes]) -> Self {
                Self(bytes)
            }

            /// Returns the bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = KeyError;

            fn from_str(text: &str) -> Result<Self, KeyError> {
                hex(text).map(Self).ok_or(KeyError($error))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&crate::tuf::encode_hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        crate::text_serde!($name);
    };
}

hex_bytes!(
    /// Public ed25519 key of a device.
    DeviceKey,
    32,
    "device key is not 64 lower-case hex digits"
);
hex_bytes!(
    /// Public X25519 key of a device.
    SealingKey,
    32,
    "sealing key is not 64 lower-case hex digits"
);
hex_bytes!(
    /// ed25519 signature.
    Signature,
    64,
    "signature is not 128 lower-case hex digits"
);

impl DeviceKey {
    /// Returns true if the signature is this key's over the message. Strict: keys and points of small order and
    /// spellings that are not canonical count for nothing.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        Key::ed25519(&self.0).verifies(message, &signature.to_string())
    }
}

/// Secret ed25519 key of a device. Never printed; overwritten when dropped.
#[derive(Clone)]
pub struct DeviceSigner(SigningKey);

impl DeviceSigner {
    /// Returns the key with this secret: 32 bytes from a source of randomness.
    #[must_use]
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(secret))
    }

    /// Returns the secret, to be stored.
    #[must_use]
    pub fn secret(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Returns the public key.
    #[must_use]
    pub fn key(&self) -> DeviceKey {
        DeviceKey(*self.0.verifying_key().as_bytes())
    }

    /// Signs bytes that begin with the name of their use.
    pub(super) fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

impl fmt::Debug for DeviceSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceSigner({})", self.key())
    }
}

/// Secret X25519 key of a device. Never printed.
#[derive(Clone)]
pub struct SealingSecret([u8; 32]);

impl SealingSecret {
    /// Returns the key with this secret: 32 bytes from a source of randomness.
    #[must_use]
    pub const fn from_secret(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// Returns the secret, to be stored.
    #[must_use]
    pub const fn secret(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the public key.
    #[must_use]
    pub fn key(&self) -> SealingKey {
        SealingKey(MontgomeryPoint::mul_base_clamped(self.0).to_bytes())
    }
}

impl fmt::Debug for SealingSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingSecret({})", self.key())
    }
}

/// Builder of the bytes that a signature is over: the name of their use, then fields with their lengths.
pub(super) struct Message(Vec<u8>);

impl Message {
    /// Begins a message for this use.
    pub(super) fn new(domain: &'static str) -> Self {
        let mut bytes = domain.as_bytes().to_vec();
        bytes.push(0);
        Self(bytes)
    }

    /// Adds a field.
    pub(super) fn field(mut self, bytes: &[u8]) -> Self {
        let length = u32::try_from(bytes.len()).expect("the fields of a request are within its size limit");
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(bytes);
        self
    }

    /// Adds a field that may be missing, which differs from an empty one.
    pub(super) fn maybe(self, bytes: Option<&[u8]>) -> Self {
        match bytes {
            Some(bytes) => self.field(&[1]).field(bytes),
            None => self.field(&[0]),
        }
    }

    /// Returns the bytes.
    pub(super) fn bytes(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_half_of_a_sealing_key_is_that_of_another_implementation() {
        // Made by OpenSSL 3.
        let secret: [u8; 32] =
            hex("e89943499d5892d833af0dd3f5723c0692ae5a2e123e6d385c27f0baec9fea7d").expect("hex");
        let public = "6a7207a557a5dcf3768ed939016700a5bdeaa0559c9eb0fe12509d6ea3f60805";
        assert_eq!(SealingSecret::from_secret(secret).key().to_string(), public);
    }

    #[test]
    fn fields_cannot_be_moved_into_one_another() {
        let of = |a: &[u8], b: &[u8]| Message::new("x").field(a).field(b).bytes();
        assert_ne!(of(b"ab", b"c"), of(b"a", b"bc"));
        let maybe = |a: Option<&[u8]>| Message::new("x").maybe(a).bytes();
        assert_ne!(maybe(None), maybe(Some(b"")));
    }

    #[test]
    fn secrets_are_not_printed() {
        let signer = DeviceSigner::from_secret(&[7; 32]);
        assert!(!format!("{signer:?}").contains(&"07".repeat(32)));
        let sealing = SealingSecret::from_secret([7; 32]);
        assert!(!format!("{sealing:?}").contains(&"07".repeat(32)));
        assert!(signer.key().verifies(b"m", &signer.sign(b"m")));
        assert!(!signer.key().verifies(b"n", &signer.sign(b"m")));
        assert!(!DeviceKey::from_bytes([0; 32]).verifies(b"m", &Signature::from_bytes([0; 64])));
    }
}
