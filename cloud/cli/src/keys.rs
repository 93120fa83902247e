//! Options that say where a cloud's secret keys are, and what unlocks them.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use iottly_cloud::{KeyPlaces, seal_file};

use crate::passphrase::Passphrase;

/// Places of the keys, for the commands that work on a data folder.
#[derive(Args)]
pub(crate) struct Keys {
    /// Folder of the seal key, the signing keys of releases and the cloud's authority, for example on another disk
    /// [default: the data folder]
    #[arg(long = "keys", value_name = "DIR", env = "IOTTLY_CLOUD_KEYS")]
    folder: Option<PathBuf>,
    /// File of the key that seals secrets in the database and signing keys; all clouds on one database use the same key
    /// [default: seal.key in the folder of the keys, created at the first start]
    #[arg(long, value_name = "FILE", env = "IOTTLY_SEAL")]
    seal_key: Option<PathBuf>,
    #[command(flatten)]
    passphrase: Passphrase,
}

impl Keys {
    /// Returns the places; asks for the passphrase of a seal key that is locked.
    pub(crate) fn places(&self, data: &Path) -> anyhow::Result<KeyPlaces> {
        let places = KeyPlaces::new(data)
            .in_folder(self.folder.clone())
            .with_seal(self.seal_key.clone());
        let file = places.seal_file();
        let locked =
            seal_file::is_locked(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let passphrase = if locked {
            Some(self.passphrase.get(&file.display().to_string(), false)?)
        } else {
            self.passphrase.given()?
        };
        Ok(places.unlocked_by(passphrase))
    }
}
