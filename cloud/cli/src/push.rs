//! `iottly push`: builds firmware and saves it as a revision of a branch.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use iottly_web::answers::SavedVersion;
use serde_json::json;

use crate::answer::read;
use crate::build;
use crate::exit::Failure;
use crate::remote::{Api, Remote, escaped};

#[derive(Args)]
pub(crate) struct Options {
    /// Folder of the firmware
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Branch
    #[arg(long, default_value = "main")]
    branch: String,
    /// Description of this revision
    #[arg(long, short, default_value = "")]
    message: String,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let project = build::Project::open(&options.dir)?;
    let path = build::write(&project)?;
    let component = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let api = Api::open(&options.remote)?;
    let target = format!(
        "/branches/{}/component?message={}",
        escaped(&options.branch),
        escaped(&options.message)
    );
    let saved: SavedVersion = read(&api.upload(&target, "application/wasm", &component)?)?;
    let line = json!({
        "branch": options.branch,
        "revision": saved.revision.revision,
        "sha256": saved.revision.component,
        "created": saved.created,
    });
    Ok(writeln!(std::io::stdout().lock(), "{line}").context("cannot write to standard output")?)
}
