//! `iottly build`: builds the firmware in a folder into its component `target/NAME.wasm`.

mod cargo;
mod project;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use iottly_builder::{BuildError, Source};
use iottly_manifest::Lang;

use crate::exit::Failure;
use crate::say::say;
use crate::scratch;
use crate::subprocess::{self, SCRIPT_DEADLINES};
pub(crate) use project::{MANIFEST, Project};

#[derive(Args)]
pub(crate) struct Options {
    /// Folder of the firmware
    #[arg(default_value = ".")]
    dir: PathBuf,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let project = Project::open(&options.dir)?;
    let path = write(&project)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", path.display())
        .and_then(|()| out.flush())
        .map_err(anyhow::Error::from)?;
    Ok(())
}

/// Builds the firmware into `target`; returns the path, and prints the duration to standard error.
///
/// # Errors
/// [`Failure::Invalid`] for an error in the source, with file and line; [`Failure::Failed`] for any other.
pub(crate) fn write(project: &Project) -> Result<PathBuf, Failure> {
    let began = Instant::now();
    let wasm = component(project)?;
    let path = project.wasm();
    project::replace(&path, &wasm).with_context(|| format!("cannot write {}", path.display()))?;
    say(&format!(
        "built {}: {} KB in {:.1} s",
        project.name,
        wasm.len() / 1000,
        began.elapsed().as_secs_f32()
    ));
    Ok(path)
}

/// Builds the firmware in memory.
///
/// # Errors
/// The same as [`write()`].
pub(crate) fn component(project: &Project) -> Result<Vec<u8>, Failure> {
    let wasm = match project.language {
        Lang::Js => {
            script(&Source::from_dir(&project.dir).map_err(|error| Failure::Invalid(error.to_string()))?)?
        }
        Lang::Rust => cargo::build(&project.dir)?,
    };
    Ok(iottly_manifest::embed(&wasm, &project.manifest)
        .context("cannot put the manifest into the component")?)
}

/// Builds a lone script.
///
/// # Errors
/// The same as [`write()`].
pub(crate) fn lone_script(path: &Path) -> Result<Vec<u8>, Failure> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    script(&Source::script(text)).map_err(|failure| match failure {
        // The builder calls a lone script main.js.
        Failure::Invalid(reason) => match (reason.strip_prefix("main.js"), path.file_name()) {
            (Some(rest), Some(name)) => Failure::Invalid(format!("{}{rest}", name.to_string_lossy())),
            _ => Failure::Invalid(reason),
        },
        other => other,
    })
}

fn script(source: &Source) -> Result<Vec<u8>, Failure> {
    let scratch = scratch::dir("iottly-build-")?;
    let program = subprocess::builder()?;
    iottly_builder::build_in(scratch.path(), &program, source, SCRIPT_DEADLINES).map_err(
        |error| match error {
            BuildError::Source(_)
            | BuildError::Script(_)
            | BuildError::Endless(_)
            | BuildError::Module(_)
            | BuildError::Component(_) => Failure::Invalid(error.to_string()),
            BuildError::Builder(_) => Failure::Failed(error.into()),
        },
    )
}
