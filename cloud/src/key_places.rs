//! Places of a cloud's secret keys: in its data folder, or in another folder; the seal key may be locked by a passphrase.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use iottly_core::SealKey;
use iottly_protocol::{ProjectId, Secret};

use crate::seal_file;

/// File of the seal key in a folder of keys.
pub(crate) const SEAL: &str = "seal.key";
/// Folder of the cloud's authority in a folder of keys.
const TLS: &str = "tls";
/// Folder of the repositories of releases in the data folder, and of the signing keys in a folder of keys.
pub(crate) const RELEASES: &str = "releases";
/// Folder of a project's signing keys in the folder of its releases.
pub(crate) const SIGNING: &str = "keys";

/// Places of the keys of a cloud.
#[derive(Debug, Clone)]
pub struct KeyPlaces {
    data: PathBuf,
    folder: Option<PathBuf>,
    seal: Option<PathBuf>,
    passphrase: Option<Secret>,
    /// The seal key once it was read, because a passphrase takes a second and much memory.
    open: Arc<Mutex<Option<SealKey>>>,
}

impl KeyPlaces {
    /// Returns the places in a data folder.
    #[must_use]
    pub fn new(data: &Path) -> Self {
        Self {
            data: data.to_owned(),
            folder: None,
            seal: None,
            passphrase: None,
            open: Arc::default(),
        }
    }

    /// Moves all keys to a folder of their own.
    #[must_use]
    pub fn in_folder(self, folder: Option<PathBuf>) -> Self {
        Self { folder, ..self }
    }

    /// Moves the seal key to a file.
    #[must_use]
    pub fn with_seal(self, seal: Option<PathBuf>) -> Self {
        Self { seal, ..self }
    }

    /// Sets the passphrase of a locked seal key.
    #[must_use]
    pub fn unlocked_by(self, passphrase: Option<Secret>) -> Self {
        Self { passphrase, ..self }
    }

    /// Returns the folder of the keys, if they are not in the data folder.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    fn root(&self) -> &Path {
        self.folder.as_deref().unwrap_or(&self.data)
    }

    /// Returns the file of the seal key.
    #[must_use]
    pub fn seal_file(&self) -> PathBuf {
        self.seal.clone().unwrap_or_else(|| self.root().join(SEAL))
    }

    /// Returns the folder of the cloud's authority and its certificate.
    #[must_use]
    pub fn tls(&self) -> PathBuf {
        self.root().join(TLS)
    }

    /// Returns the folder of a project's signing keys.
    #[must_use]
    pub fn signing(&self, project: ProjectId) -> PathBuf {
        let name = project.to_string();
        match &self.folder {
            Some(folder) => folder.join(RELEASES).join(name),
            None => self.data.join(RELEASES).join(name).join(SIGNING),
        }
    }

    /// Reads the seal key, which is made at the first use.
    ///
    /// # Errors
    /// If the file cannot be read or made, is not a key, or needs another passphrase; or if the data folder still holds a
    /// seal key that the folder of keys lacks, because a new one would open nothing that the old one has sealed.
    pub fn seal(&self) -> io::Result<SealKey> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = &*open {
            return Ok(key.clone());
        }
        let (path, former) = (self.seal_file(), self.data.join(SEAL));
        if self.folder.is_some() && self.seal.is_none() && !path.exists() && former.exists() {
            return Err(io::Error::other(format!(
                "{} is missing and {} exists: move it, with the folder tls, and the keys of each project to {}",
                path.display(),
                former.display(),
                self.root().join(RELEASES).join("<project>").display()
            )));
        }
        let key = seal_file::open(&path, self.passphrase.as_ref())?;
        *open = Some(key.clone());
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_elsewhere_are_not_made_anew_beside_old_ones() {
        let (data, keys) = (
            tempfile::tempdir().expect("dir"),
            tempfile::tempdir().expect("dir"),
        );
        let inside = KeyPlaces::new(data.path());
        inside.seal().expect("made");
        assert!(data.path().join("seal.key").exists());
        let outside = KeyPlaces::new(data.path()).in_folder(Some(keys.path().to_owned()));
        let error = outside.seal().expect_err("refused").to_string();
        assert!(error.contains("move it"), "{error}");
        std::fs::rename(data.path().join("seal.key"), keys.path().join("seal.key")).expect("moved");
        outside.seal().expect("read");
        assert!(!data.path().join("seal.key").exists());
        let project = ProjectId::from_bytes([1; 12]);
        assert!(outside.signing(project).starts_with(keys.path()));
        assert!(outside.tls().starts_with(keys.path()));
        assert!(inside.signing(project).ends_with("keys"));
    }
}
