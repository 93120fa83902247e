//! The two short-lived children: this very program under a hidden command, so that one build makes all that
//! runs.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use iottly_builder::{BuildError, BuilderProgram, Source};
use iottly_cloud::rollout::{BuildFailure, Builder};
use iottly_core::model::Snippet;
use iottly_manifest::{Interface, Manifest};
use iottly_sandbox::{CompilerProgram, Confinement};

use crate::build::SCRIPT_DEADLINES;
use crate::scratch;

/// Hidden command of the firmware compiler.
pub(crate) const COMPILE: &str = "__compile";
/// Hidden command of the script builder.
pub(crate) const BUILD_JS: &str = "__build-js";

/// How to build code for releases.
pub(crate) fn cloud_builder() -> anyhow::Result<Builder> {
    let program = builder()?;
    if Confinement::here().landlock == 0 {
        tracing::warn!(
            "this kernel has no Landlock; the script builder's process is confined by its other bounds only"
        );
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
        imports: Arc::new(capabilities),
    })
}

/// What of a board a component reaches for; its manifest has to say so too, or no device takes it.
fn capabilities(component: &[u8]) -> Result<Vec<String>, BuildFailure> {
    let code = |reason: String| BuildFailure::Code(format!("the component is no firmware: {reason}"));
    let text = iottly_manifest::extract(component).map_err(|error| code(error.to_string()))?;
    let manifest = text
        .map(Manifest::parse)
        .transpose()
        .map_err(|error| code(error.to_string()))?
        .unwrap_or_default();
    let imported = iottly_builder::imports(component).map_err(failure)?;
    let board = imported
        .iter()
        .filter_map(|name| Interface::from_name(name))
        .filter(|interface| interface.is_hardware());
    let board: Vec<Interface> = board.collect();
    if let Some(silent) = board
        .iter()
        .find(|interface| !manifest.interfaces().any(|asked| asked == **interface))
    {
        return Err(code(format!(
            "the code imports {silent}, and the manifest asks for no label of it"
        )));
    }
    Ok(board.iter().map(ToString::to_string).collect())
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

/// How to start the firmware compiler.
pub(crate) fn compiler() -> anyhow::Result<CompilerProgram> {
    Ok(CompilerProgram {
        path: itself()?,
        args: vec![COMPILE.into()],
    })
}

/// How to start the script builder.
pub(crate) fn builder() -> anyhow::Result<BuilderProgram> {
    Ok(BuilderProgram {
        path: itself()?,
        args: vec![BUILD_JS.into()],
    })
}
