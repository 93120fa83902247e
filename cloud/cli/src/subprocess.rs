//! The two short-lived child processes, compiler and script builder: this program itself under a hidden command, so
//! that one build makes all that runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use iottly_builder::{BuildError, BuilderProgram, Deadlines, Source};
use iottly_cloud::releases::OfferedEngine;
use iottly_cloud::rollout::{BuildFailure, Builder};
use iottly_core::model::Snippet;
use iottly_sandbox::{CompilerProgram, Confinement};

use crate::scratch;

/// Hidden command of the firmware compiler.
pub(crate) const COMPILE: &str = "__compile";
/// Hidden command of the script builder.
pub(crate) const BUILD_JS: &str = "__build-js";
/// Time limits of a script's build: an endless top level is stopped within ten seconds, and a good script is built
/// on a busy machine as well.
pub(crate) const SCRIPT_DEADLINES: Deadlines = Deadlines {
    cpu: Duration::from_secs(7),
    wall: Duration::from_secs(30),
};

/// Returns the cloud's builder of code for releases.
pub(crate) fn cloud_builder() -> anyhow::Result<Builder> {
    let program = builder()?;
    if Confinement::here().landlock == 0 {
        tracing::warn!("kernel has no Landlock; confining the script builder by its other limits only");
    }
    let build = move |snippets: &[Snippet]| {
        let source = Source::sections(
            snippets
                .iter()
                .map(|snippet| (snippet.name.as_str(), snippet.code.as_str())),
        );
        iottly_builder::build_in(&scratch::folder(), &program, &source, SCRIPT_DEADLINES).map_err(failure)
    };
    Ok(Builder {
        version: iottly_builder::version(),
        build: Arc::new(build),
        imports: Arc::new(|component: &[u8]| iottly_builder::capabilities(component).map_err(failure)),
        engine: Some(OfferedEngine {
            abi: iottly_engine::ABI.to_owned(),
            content: iottly_engine::ENGINE,
        }),
    })
}

fn failure(error: BuildError) -> BuildFailure {
    match error {
        BuildError::Builder(reason) => BuildFailure::Builder(reason),
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

/// Returns the command that starts the script builder.
pub(crate) fn builder() -> anyhow::Result<BuilderProgram> {
    Ok(BuilderProgram {
        path: itself()?,
        args: vec![BUILD_JS.into()],
    })
}
