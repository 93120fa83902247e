//! The short-lived child processes, compiler and check of scripts: this program itself under a hidden command, so that
//! one build makes all that runs.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use iottly_builder::{BuildError, Source};
use iottly_child::Program;
use iottly_cloud::rollout::{BuildFailure, Builder};
use iottly_core::model::Snippet;
use iottly_sandbox::{CompilerProgram, Confinement};

use crate::script_check::ChildCheck;

/// Hidden command of the firmware compiler.
pub(crate) const COMPILE: &str = "__compile";
/// Hidden command of the check of scripts.
pub(crate) const CHECK_SCRIPT: &str = "__check-script";

/// Returns the cloud's builder of code for releases.
pub(crate) fn cloud_builder() -> anyhow::Result<Builder> {
    let check = ChildCheck::new()?;
    if Confinement::here().landlock == 0 {
        tracing::warn!("kernel has no Landlock; confining the check of scripts by its other limits only");
    }
    let build = move |snippets: &[Snippet]| {
        let source = Source::sections(
            snippets
                .iter()
                .map(|snippet| (snippet.name.as_str(), snippet.code.as_str())),
        );
        iottly_builder::build(&source, &check).map_err(failure)
    };
    let inspect = |component: &[u8]| {
        let found = iottly_builder::inspect(component).map_err(failure)?;
        Ok(found.capabilities)
    };
    Ok(Builder {
        version: iottly_builder::version(),
        build: Arc::new(build),
        imports: Arc::new(inspect),
    })
}

fn failure(error: BuildError) -> BuildFailure {
    match error {
        BuildError::Check(reason) => BuildFailure::Builder(reason),
        other => BuildFailure::Code(other.to_string()),
    }
}

fn itself() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("cannot find this program's own file")
}

/// Returns the command that starts the firmware compiler.
pub(crate) fn compiler() -> anyhow::Result<CompilerProgram> {
    Ok(CompilerProgram {
        path: itself()?,
        args: vec![COMPILE.into()],
    })
}

/// Returns the command that starts the check of scripts.
pub(crate) fn checker() -> anyhow::Result<Program> {
    Ok(Program {
        path: itself()?,
        args: vec![CHECK_SCRIPT.into()],
    })
}
