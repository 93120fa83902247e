//! `iottly seal`: locks the file of a seal key with a passphrase, and unlocks it.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use iottly_cloud::seal_file;

use crate::passphrase::Passphrase;

#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Locks the key with a passphrase, which `serve` needs from then on
    Lock(File),
    /// Writes the key without a passphrase again
    Unlock(File),
}

#[derive(Args)]
struct File {
    /// File of the key: seal.key in the data folder or in the folder of the keys
    file: PathBuf,
    #[command(flatten)]
    passphrase: Passphrase,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let (Action::Lock(File { file, passphrase }) | Action::Unlock(File { file, passphrase })) =
        &options.action;
    let name = file.display().to_string();
    let locked = seal_file::is_locked(file).with_context(|| format!("cannot read {name}"))?;
    if !file.exists() {
        bail!("{name} does not exist");
    }
    match &options.action {
        Action::Lock(_) if locked => bail!("{name} is locked already"),
        Action::Unlock(_) if !locked => bail!("{name} is not locked"),
        Action::Lock(_) => seal_file::lock(file, &passphrase.get(&name, true)?)?,
        Action::Unlock(_) => seal_file::unlock(file, &passphrase.get(&name, false)?)?,
    }
    Ok(())
}
