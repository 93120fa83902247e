//! `iottly backup` and `iottly restore`: the cloud's database as one file, or the whole cloud as one encrypted file.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use iottly_cloud::{CloudConfig, KeyPlaces, backup as whole};
use iottly_store as store;

use crate::passphrase::Passphrase;

/// Place of a cloud.
#[derive(Args)]
struct Place {
    /// File of the backup
    file: PathBuf,
    /// Folder of the cloud's data
    #[arg(long)]
    data: PathBuf,
    /// PostgreSQL database in place of a SQLite file in the folder
    #[arg(
        long,
        value_name = "postgres://…",
        env = "IOTTLY_DATABASE_URL",
        hide_env_values = true
    )]
    database_url: Option<String>,
    #[command(flatten)]
    keys: KeyFiles,
    #[command(flatten)]
    passphrase: Passphrase,
}

/// Places of the keys. They are copied as they are: a locked seal key stays locked.
#[derive(Args)]
struct KeyFiles {
    /// Folder of the keys, as given to `serve` [default: the data folder]
    #[arg(long = "keys", value_name = "DIR", env = "IOTTLY_CLOUD_KEYS")]
    folder: Option<PathBuf>,
    /// File of the seal key, as given to `serve` [default: seal.key in the folder of the keys]
    #[arg(long, value_name = "FILE", env = "IOTTLY_SEAL")]
    seal_key: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct BackupOptions {
    /// Copy the releases, the keys and the cloud's authority as well, encrypted to a passphrase
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
pub(crate) struct RestoreOptions {
    #[command(flatten)]
    place: Place,
}

impl Place {
    fn config(&self) -> CloudConfig {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let keys = KeyPlaces::new(&self.data)
            .in_folder(self.keys.folder.clone())
            .with_seal(self.keys.seal_key.clone());
        CloudConfig {
            database_url: self.database_url.clone(),
            keys: Some(keys),
            ..CloudConfig::new(self.data.clone(), nowhere)
        }
    }
}

/// Copies the database, or all of the cloud, into a new file; the cloud may be running.
pub(crate) async fn backup(options: BackupOptions) -> anyhow::Result<()> {
    let place = &options.place;
    let failed = || format!("cannot back up to {}", place.file.display());
    if !options.all {
        let database = place.config().database();
        return store::backup(&database, &place.file).await.with_context(failed);
    }
    if place.file.exists() {
        bail!("{} exists already", place.file.display());
    }
    let passphrase = place.passphrase.get("the backup", true)?;
    let copy = Snapshot::beside(&place.file);
    let config = place.config();
    store::backup(&config.database(), &copy.0)
        .await
        .with_context(failed)?;
    let file = place.file.clone();
    let done = tokio::task::spawn_blocking(move || whole::back_up_all(&config, &copy.0, &file, &passphrase));
    done.await.with_context(failed)?.with_context(failed)
}

/// Fills an empty database, or an empty data folder, from a backup.
pub(crate) async fn restore(options: RestoreOptions) -> anyhow::Result<()> {
    let place = &options.place;
    let failed = || format!("cannot restore {}", place.file.display());
    if !whole::is_whole(&place.file) {
        let restored = iottly_cloud::restore(&place.config(), &place.file).await;
        return restored.with_context(failed);
    }
    let passphrase = place.passphrase.get("the backup", false)?;
    let restored = whole::restore_all(&place.config(), &place.file, &passphrase).await;
    restored.with_context(failed)
}

/// Copy of the database in clear beside the backup, removed on drop.
struct Snapshot(PathBuf);

impl Snapshot {
    fn beside(file: &Path) -> Self {
        Self(file.with_added_extension(format!("{}.database", std::process::id())))
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
