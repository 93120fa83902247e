//! Folders of secret signing keys.

use std::path::{Path, PathBuf};

use iottly_protocol::tuf::{SigningKey, decode_hex, encode_hex};
use serde::{Deserialize, Serialize};

use super::{ReleaseError, files};
use crate::random;
use iottly_core::{SealKey, SealNonce, Sealed};

/// Roles that have keys.
pub const ROLES: [&str; 6] = ["root", "targets", "snapshot", "timestamp", "directive", DEVELOPER];
/// Role whose keys sign developer orders. Roots that were signed before it existed do not name it.
pub(super) const DEVELOPER: &str = "developer";

fn random<const N: usize>() -> Result<[u8; N], ReleaseError> {
    random::bytes().map_err(|e| ReleaseError::Input(format!("the system provides no random bytes: {e}")))
}

#[derive(Serialize, Deserialize)]
struct KeyFile {
    role: String,
    keyid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed: Option<String>,
}

/// Folder of secret keys in files `ROLE-BEGINNING_OF_ID.key`, readable by their owner only.
#[derive(Debug)]
pub struct KeyFolder {
    path: PathBuf,
    seal: Option<SealKey>,
}

impl KeyFolder {
    /// Uses a folder, which need not exist yet. With a seal, keys are written and read sealed.
    #[must_use]
    pub fn new(path: &Path, seal: Option<SealKey>) -> Self {
        Self {
            path: path.to_owned(),
            seal,
        }
    }

    /// Creates a key for a role.
    ///
    /// # Errors
    /// If the role is unknown or the file cannot be written.
    pub fn make(&self, role: &str) -> Result<SigningKey, ReleaseError> {
        if !ROLES.contains(&role) {
            return Err(ReleaseError::Input(format!(
                "{role:?} is not a role: {}",
                ROLES.join(", ")
            )));
        }
        let key = SigningKey::from_secret(&random()?);
        let keyid = key.public().id();
        let (secret, sealed) = match &self.seal {
            Some(seal) => {
                let sealed = seal
                    .seal(role, key.secret(), SealNonce::new(random()?))
                    .map_err(|e| ReleaseError::Input(e.to_string()))?;
                (None, Some(encode_hex(&sealed.0)))
            }
            None => (Some(encode_hex(key.secret())), None),
        };
        let name = format!("{role}-{}.key", &keyid[..12]);
        let file = KeyFile {
            role: role.to_owned(),
            keyid,
            secret,
            sealed,
        };
        let text = serde_json::to_vec_pretty(&file).map_err(|e| ReleaseError::Input(e.to_string()))?;
        files::replace(&self.path.join(name), &text, 0o600)?;
        Ok(key)
    }

    /// Returns the keys of a role, by file name.
    ///
    /// # Errors
    /// If there are none, or one cannot be read or unsealed.
    pub fn of(&self, role: &str) -> Result<Vec<SigningKey>, ReleaseError> {
        let mut keys = Vec::new();
        for path in self.files()? {
            let file = self.read(&path)?;
            if file.role == role {
                keys.push(self.secret(&path, &file)?);
            }
        }
        if keys.is_empty() {
            return Err(ReleaseError::NoKey {
                role: role.to_owned(),
                folder: self.path.display().to_string(),
            });
        }
        Ok(keys)
    }

    /// Returns role and id of every key.
    ///
    /// # Errors
    /// If the folder or a file in it cannot be read.
    pub fn list(&self) -> Result<Vec<(String, String)>, ReleaseError> {
        self.files()?
            .iter()
            .map(|path| self.read(path).map(|file| (file.role, file.keyid)))
            .collect()
    }

    /// Deletes a key; a missing one counts as deleted.
    ///
    /// # Errors
    /// If the folder or a file in it cannot be read, or the file cannot be deleted.
    pub(super) fn remove(&self, keyid: &str) -> Result<(), ReleaseError> {
        for path in self.files()? {
            if self.read(&path)?.keyid == keyid {
                std::fs::remove_file(&path).map_err(|error| ReleaseError::file(&path, error))?;
            }
        }
        Ok(())
    }

    /// Returns the path of the folder, for people.
    pub(super) fn shown(&self) -> String {
        self.path.display().to_string()
    }

    fn files(&self) -> Result<Vec<PathBuf>, ReleaseError> {
        let entries = match std::fs::read_dir(&self.path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|e| ReleaseError::file(&self.path, e))?,
        };
        let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "key"));
        files.sort();
        Ok(files)
    }

    fn read(&self, path: &Path) -> Result<KeyFile, ReleaseError> {
        let bytes = files::read(path)?.unwrap_or_default();
        serde_json::from_slice(&bytes).map_err(|e| ReleaseError::invalid(path, e))
    }

    fn secret(&self, path: &Path, file: &KeyFile) -> Result<SigningKey, ReleaseError> {
        let secret = match (&file.secret, &file.sealed, &self.seal) {
            (Some(secret), _, _) => decode_hex(secret).and_then(|bytes| bytes.try_into().ok()),
            (None, Some(sealed), Some(seal)) => {
                let sealed = decode_hex(sealed).and_then(|bytes| seal.unseal(&file.role, &Sealed(bytes)));
                sealed.and_then(|bytes| bytes.try_into().ok())
            }
            (None, Some(_), None) => {
                return Err(ReleaseError::invalid(path, "is sealed, and no seal is given"));
            }
            (None, None, _) => None,
        };
        let key = secret.map(|secret| SigningKey::from_secret(&secret));
        let key = key.filter(|key| key.public().id() == file.keyid);
        key.ok_or_else(|| {
            ReleaseError::invalid(
                path,
                "does not contain the key that it names, or was sealed with another key",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_keys_need_their_seal() {
        let dir = tempfile::tempdir().expect("dir");
        let open = |name: &str| crate::seal_file::open(&dir.path().join(name), None).expect("seal");
        let keys = KeyFolder::new(&dir.path().join("keys"), Some(open("seal")));
        let made = keys.make("targets").expect("made");
        assert_eq!(keys.of("targets").expect("read")[0].secret(), made.secret());
        assert_eq!(
            keys.list().expect("list"),
            [("targets".to_owned(), made.public().id())]
        );
        assert!(matches!(keys.of("root"), Err(ReleaseError::NoKey { .. })));
        for other in [None, Some(open("another"))] {
            assert!(
                KeyFolder::new(&dir.path().join("keys"), other)
                    .of("targets")
                    .is_err()
            );
        }
        let text = std::fs::read_dir(dir.path().join("keys"))
            .expect("dir")
            .flatten()
            .next()
            .expect("a key");
        let text = std::fs::read_to_string(text.path()).expect("text");
        assert!(
            !text.contains(&encode_hex(made.secret())),
            "the secret is not sealed"
        );
        assert!(keys.make("nonsense").is_err());
    }
}
