//! The file that holds the seal key: made on the first start, readable by its owner only.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use iottly_core::SealKey;
use iottly_protocol::tuf::{decode_hex, encode_hex};
use zeroize::Zeroizing;

use crate::random;

/// Reads the key's file, 64 hex digits; creates it, readable by its owner only, if missing.
///
/// # Errors
/// If the file cannot be read or created, or is not a key.
pub fn open(path: &Path) -> io::Result<SealKey> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let secret = match fs::read(path) {
        Ok(text) => decode_hex(String::from_utf8_lossy(&Zeroizing::new(text)).trim()).map(Zeroizing::new),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Some(Zeroizing::new(make(path).map_err(named)?.to_vec()))
        }
        Err(error) => return Err(named(error)),
    };
    let key = secret.and_then(|secret| SealKey::new(&secret));
    key.ok_or_else(|| named(io::Error::other("is not a key of 64 hex digits")))
}

/// Creates a key and its file, atomically.
fn make(path: &Path) -> io::Result<Zeroizing<[u8; 32]>> {
    let secret = Zeroizing::new(random::bytes::<32>().map_err(io::Error::other)?);
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
    file.write_all(Zeroizing::new(format!("{}\n", encode_hex(&*secret))).as_bytes())?;
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
    fn a_key_is_made_once_and_read_afterwards() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("new/seal.key");
        let nonce = random::nonce().expect("random bytes");
        let sealed = open(&path)
            .expect("made")
            .seal("a", b"secret", nonce)
            .expect("sealed");
        let again = open(&path).expect("read");
        assert_eq!(again.unseal("a", &sealed).as_deref(), Some(&b"secret"[..]));
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_holds_no_key_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("seal.key");
        fs::write(&path, "0011").expect("written");
        assert!(open(&path).is_err());
    }
}
