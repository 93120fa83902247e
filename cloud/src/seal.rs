//! Encryption ("sealing") of secrets that are stored on disk or in a database, with a key from a file.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use iottly_protocol::tuf::{decode_hex, encode_hex};
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
pub struct SealKey(LessSafeKey);

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(…)")
    }
}

/// Error of sealing a secret.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The system provides no random bytes.
    #[error("the system provides no random bytes: {0}")]
    Random(#[from] getrandom::Error),
    /// The secret is longer than the cipher accepts.
    #[error("the secret is too long to be sealed")]
    Length,
}

impl SealKey {
    /// Returns a key of 32 bytes; none for another length.
    #[must_use]
    pub fn new(secret: &[u8]) -> Option<Self> {
        UnboundKey::new(&CHACHA20_POLY1305, secret)
            .ok()
            .map(|key| Self(LessSafeKey::new(key)))
    }

    /// Reads the key's file, 64 hex digits; creates it, readable by its owner only, if missing.
    ///
    /// # Errors
    /// If the file cannot be read or created, or is not a key.
    pub fn open(path: &Path) -> io::Result<Self> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let secret = match fs::read(path) {
            Ok(text) => decode_hex(String::from_utf8_lossy(&text).trim()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Some(make(path).map_err(named)?.to_vec())
            }
            Err(error) => return Err(named(error)),
        };
        let key = secret.and_then(|secret| Self::new(&secret));
        key.ok_or_else(|| named(io::Error::other("is not a key of 64 hex digits")))
    }

    /// Seals a secret under a label; it can be unsealed under that label only.
    ///
    /// # Errors
    /// If the system provides no random bytes.
    pub fn seal(&self, label: &str, secret: &[u8]) -> Result<Sealed, SealError> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce)?;
        let mut sealed = secret.to_vec();
        let done = self.0.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(label.as_bytes()),
            &mut sealed,
        );
        done.map_err(|_| SealError::Length)?;
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

/// Creates a key and its file, atomically.
fn make(path: &Path) -> io::Result<[u8; 32]> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let new = path.with_added_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(format!("{}\n", encode_hex(&secret)).as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(folder)?.sync_all()?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_sealed_opens_with_its_key_and_label_only() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("new/seal.key");
        let key = SealKey::open(&path).expect("made");
        let sealed = key.seal("a", b"secret").expect("sealed");
        assert!(!sealed.0.windows(6).any(|part| part == b"secret"));
        assert_ne!(
            sealed,
            key.seal("a", b"secret").expect("sealed"),
            "a nonce of its own each time"
        );
        assert_eq!(
            SealKey::open(&path)
                .expect("read")
                .unseal("a", &sealed)
                .as_deref(),
            Some(&b"secret"[..])
        );
        assert_eq!(key.unseal("b", &sealed), None);
        assert_eq!(
            SealKey::new(&[7; 32]).expect("32 bytes").unseal("a", &sealed),
            None
        );
        assert_eq!(key.unseal("a", &Sealed(sealed.0[..20].to_vec())), None);
        assert_eq!(key.unseal("a", &Sealed(Vec::new())), None);
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!format!("{key:?} {sealed:?}").contains("secret"));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("seal.key");
        fs::write(&path, "0011").expect("written");
        assert!(SealKey::open(&path).is_err());
        assert!(SealKey::new(b"short").is_none());
    }
}
