//! `iottly build`: builds the firmware in a folder into its component `target/NAME.wasm`.

mod cargo;
mod project;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use iottly_builder::{BuildError, Source, SourceError};
use iottly_manifest::Lang;

use crate::exit::Failure;
use crate::say::say;
use crate::script_check::ChildCheck;
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
        "built {}: {:.1} KB in {:.2} s",
        project.name,
        wasm.len() as f64 / 1000.0,
        began.elapsed().as_secs_f32()
    ));
    Ok(path)
}

/// Builds the firmware in memory; a script is checked as well.
///
/// # Errors
/// The same as [`write()`].
pub(crate) fn component(project: &Project) -> Result<Vec<u8>, Failure> {
    match project.language {
        Lang::Js => {
            let source = Source::from_dir(&project.dir)
                .and_then(|source| source.with_manifest(project.manifest.clone()))
                .map_err(invalid)?;
            script(&source)
        }
        Lang::Rust => {
            let wasm = cargo::build(&project.dir)?;
            Ok(iottly_manifest::embed(&wasm, &project.manifest)
                .context("cannot put the manifest into the component")?)
        }
    }
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
    iottly_builder::build(source, &ChildCheck::new()?).map_err(|error| match error {
        BuildError::Check(_) => Failure::Failed(error.into()),
        _ => Failure::Invalid(error.to_string()),
    })
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` wants")]
fn invalid(error: SourceError) -> Failure {
    Failure::Invalid(error.to_string())
}
