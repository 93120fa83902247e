//! Encryption ("sealing") of secrets that are stored on disk or in a database, with a key from a file.

use std::fmt;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// Bytes that a [`SealKey`] has sealed.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(pub Vec<u8>);

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed(…)")
    }
}

/// A key that seals other secrets.
#[derive(Clone)]
pub struct SealKey(LessSafeKey);

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(…)")
    }
}

/// Random bytes for the sealing of one secret. Sealing takes them by value, because the same bytes for two
/// secrets would break the cipher.
pub struct SealNonce([u8; NONCE_LEN]);

impl SealNonce {
    /// Returns a nonce of random bytes, which must be used here only.
    #[must_use]
    pub fn new(random: [u8; NONCE_LEN]) -> Self {
        Self(random)
    }
}

/// Error of sealing a secret: it is longer than the cipher accepts.
#[derive(Debug, thiserror::Error)]
#[error("the secret is too long to be sealed")]
pub struct SealError;

impl SealKey {
    /// Returns a key of 32 bytes; none for another length.
    #[must_use]
    pub fn new(secret: &[u8]) -> Option<Self> {
        UnboundKey::new(&CHACHA20_POLY1305, secret)
            .ok()
            .map(|key| Self(LessSafeKey::new(key)))
    }

    /// Seals a secret under a label; it can be unsealed under that label only.
    ///
    /// # Errors
    /// If the secret is longer than the cipher accepts.
    pub fn seal(&self, label: &str, secret: &[u8], nonce: SealNonce) -> Result<Sealed, SealError> {
        let nonce = nonce.0;
        let mut sealed = secret.to_vec();
        let done = self.0.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(label.as_bytes()),
            &mut sealed,
        );
        done.map_err(|_| SealError)?;
        Ok(Sealed([&nonce[..], &sealed].concat()))
    }

    /// Unseals the output of [`seal`](Self::seal); none if key, label or bytes differ.
    #[must_use]
    pub fn unseal(&self, label: &str, sealed: &Sealed) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.0.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0
            .open_in_place(nonce, Aad::from(label.as_bytes()), &mut sealed)
            .ok()
            .map(|secret| secret.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_secret_opens_with_its_key_and_label_only() {
        let key = SealKey::new(&[1; 32]).expect("32 bytes");
        let seal = |nonce| key.seal("a", b"secret", SealNonce::new([nonce; NONCE_LEN]));
        let sealed = seal(1).expect("sealed");
        assert!(!sealed.0.windows(6).any(|part| part == b"secret"));
        let again = seal(2).expect("sealed");
        assert_ne!(sealed, again, "each nonce gives other bytes");
        assert_eq!(key.unseal("a", &sealed).as_deref(), Some(&b"secret"[..]));
        assert_eq!(key.unseal("b", &sealed), None);
        let other = SealKey::new(&[7; 32]).expect("32 bytes");
        assert_eq!(other.unseal("a", &sealed), None);
        assert_eq!(key.unseal("a", &Sealed(sealed.0[..20].to_vec())), None);
        assert_eq!(key.unseal("a", &Sealed(Vec::new())), None);
        assert!(!format!("{key:?} {sealed:?}").contains("secret"));
    }

    #[test]
    fn a_key_has_32_bytes() {
        assert!(SealKey::new(b"short").is_none());
    }
}
