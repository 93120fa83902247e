//! The file that holds the seal key: made on the first start, readable by its owner only, and locked by a passphrase if
//! there is one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use iottly_core::SealKey;
use iottly_core::vault::{self, Cost, LockedError};
use iottly_protocol::Secret;
use iottly_protocol::tuf::{decode_hex, encode_hex};
use zeroize::Zeroizing;

use crate::random;

/// Reads the key's file, 64 hex digits or a locked key; creates it, readable by its owner only, if missing. A new one is
/// locked if there is a passphrase.
///
/// # Errors
/// If the file cannot be read or created, is not a key, or is locked by another passphrase.
pub fn open(path: &Path, passphrase: Option<&Secret>) -> io::Result<SealKey> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let secret = read(path, passphrase).map_err(named)?;
    let secret = match secret {
        Some(secret) => secret,
        None => make(path, passphrase).map_err(named)?,
    };
    Ok(SealKey::new(&*secret).expect("a seal key has 32 bytes"))
}

/// Returns true if the file exists and is locked.
///
/// # Errors
/// If it cannot be read.
pub fn is_locked(path: &Path) -> io::Result<bool> {
    Ok(text(path)?.is_some_and(|text| vault::is_locked(&text)))
}

/// Locks a key that is not locked.
///
/// # Errors
/// If the file cannot be read or written, is not a key, or the passphrase is short.
pub fn lock(path: &Path, passphrase: &Secret) -> io::Result<()> {
    let secret = read(path, None)?.ok_or(io::ErrorKind::NotFound)?;
    write(path, &locked(&secret, passphrase)?)
}

/// Unlocks a key for good.
///
/// # Errors
/// If the file cannot be read or written, or is locked by another passphrase.
pub fn unlock(path: &Path, passphrase: &Secret) -> io::Result<()> {
    let secret = read(path, Some(passphrase))?.ok_or(io::ErrorKind::NotFound)?;
    write(path, &Zeroizing::new(encode_hex(&*secret)))
}

fn text(path: &Path) -> io::Result<Option<Zeroizing<String>>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(Zeroizing::new(text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the key; none if there is no file.
fn read(path: &Path, passphrase: Option<&Secret>) -> io::Result<Option<Zeroizing<[u8; 32]>>> {
    let Some(text) = text(path)? else {
        return Ok(None);
    };
    let unlocked = match (vault::unlock(&text, passphrase), passphrase) {
        (Ok(unlocked), _) => unlocked,
        (Err(LockedError::Passphrase(_)), None) => {
            return Err(io::Error::other(
                "is locked by a passphrase; name the file with it (--passphrase-file)",
            ));
        }
        (Err(error), _) => return Err(io::Error::other(error)),
    };
    let plain = || decode_hex(text.trim()).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let secret = unlocked.or_else(|| plain().map(Zeroizing::new));
    let secret = secret.ok_or_else(|| io::Error::other("is not a key of 64 hex digits"))?;
    Ok(Some(secret))
}

fn locked(secret: &[u8; 32], passphrase: &Secret) -> io::Result<String> {
    let salt = random::bytes().map_err(io::Error::other)?;
    vault::lock(secret, passphrase, salt, Cost::NOW).map_err(io::Error::other)
}

/// Creates a key and its file.
fn make(path: &Path, passphrase: Option<&Secret>) -> io::Result<Zeroizing<[u8; 32]>> {
    let secret = Zeroizing::new(random::bytes::<32>().map_err(io::Error::other)?);
    let folder = folder(path);
    fs::create_dir_all(folder)?;
    let text = match passphrase {
        Some(passphrase) => Zeroizing::new(locked(&secret, passphrase)?),
        None => Zeroizing::new(encode_hex(&*secret)),
    };
    write(path, &text)?;
    Ok(secret)
}

fn folder(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Replaces the file atomically.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_added_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(folder(path))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_read_afterwards() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("new/seal.key");
        let nonce = random::nonce().expect("random bytes");
        let sealed = open(&path, None)
            .expect("made")
            .seal("a", b"secret", nonce)
            .expect("sealed");
        let again = open(&path, None).expect("read");
        assert_eq!(again.unseal("a", &sealed).as_deref(), Some(&b"secret"[..]));
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_locked_key_stays_the_same_key() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("seal.key");
        let nonce = random::nonce().expect("random bytes");
        let sealed = open(&path, None)
            .expect("made")
            .seal("a", b"secret", nonce)
            .expect("sealed");
        let plain = fs::read_to_string(&path).expect("text");
        let passphrase = Secret::new("correct horse battery");
        lock(&path, &passphrase).expect("locked");
        assert!(is_locked(&path).expect("read"));
        assert!(!fs::read_to_string(&path).expect("text").contains(plain.trim()));
        let error = open(&path, None).expect_err("no passphrase").to_string();
        assert!(error.contains("--passphrase-file"), "{error}");
        let error = open(&path, Some(&Secret::new("another passphrase")))
            .expect_err("wrong")
            .to_string();
        assert!(error.contains("passphrase is wrong"), "{error}");
        let opened = open(&path, Some(&passphrase)).expect("opened");
        assert_eq!(opened.unseal("a", &sealed).as_deref(), Some(&b"secret"[..]));
        unlock(&path, &passphrase).expect("unlocked");
        assert_eq!(fs::read_to_string(&path).expect("text"), plain);
    }

    #[test]
    fn a_new_key_is_locked_if_there_is_a_passphrase() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("seal.key");
        open(&path, Some(&Secret::new("correct horse battery"))).expect("made");
        assert!(is_locked(&path).expect("read"));
        assert!(open(&folder.path().join("other"), Some(&Secret::new("short"))).is_err());
    }

    #[test]
    fn a_file_that_holds_no_key_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("seal.key");
        fs::write(&path, "0011").expect("written");
        assert!(open(&path, None).is_err());
    }
}
