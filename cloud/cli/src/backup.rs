//! `iottly backup` and `iottly restore`: the cloud's database as one file.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use iottly_cloud::CloudConfig;
use iottly_store as store;

#[derive(Args)]
pub(crate) struct Options {
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
}

impl Options {
    fn config(&self) -> CloudConfig {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        CloudConfig {
            database_url: self.database_url.clone(),
            ..CloudConfig::new(self.data.clone(), nowhere)
        }
    }
}

/// Copies the database into a new file; the cloud may be running.
pub(crate) async fn backup(options: Options) -> anyhow::Result<()> {
    let database = options.config().database();
    store::backup(&database, &options.file)
        .await
        .with_context(|| format!("cannot back up to {}", options.file.display()))
}

/// Fills an empty database from a backup.
pub(crate) async fn restore(options: Options) -> anyhow::Result<()> {
    let restored = iottly_cloud::restore(&options.config(), &options.file).await;
    restored.with_context(|| format!("cannot restore {}", options.file.display()))
}
