//! The builder of code for releases, which the program hands to the cloud: the cloud's library links no sandbox.

use std::sync::Arc;

use iottly_builder::{BuildError, Source, SourceError};
use iottly_cloud::releases::OfferedEngine;
use iottly_cloud::rollout::{BuildFailure, Builder};
use iottly_core::model::BranchCode;
use iottly_sandbox::Confinement;

use crate::script_check::ChildCheck;

/// Returns the cloud's builder of code for releases.
pub(crate) fn new() -> anyhow::Result<Builder> {
    let check = ChildCheck::new()?;
    if Confinement::here().landlock == 0 {
        tracing::warn!("kernel has no Landlock; confining the check of scripts by its other limits only");
    }
    let build = move |code: &BranchCode| {
        let source = source(code).map_err(|error| failure(error.into()))?;
        iottly_builder::build(&source, &check).map_err(failure)
    };
    Ok(Builder {
        version: iottly_builder::version(),
        build: Arc::new(build),
        capabilities: Arc::new(|component: &[u8]| iottly_builder::capabilities(component).map_err(failure)),
        engine: Some(offered_engine()),
    })
}

/// Returns the script engine of this program, as releases offer it.
pub(crate) fn offered_engine() -> OfferedEngine {
    OfferedEngine {
        abi: iottly_engine::ABI.to_owned(),
        content: iottly_engine::ENGINE,
    }
}

/// Returns the source of a branch's code; the manifest is to the sections what `firmware.toml` is to a folder.
fn source(code: &BranchCode) -> Result<Source, SourceError> {
    let source = Source::sections(
        code.snippets
            .iter()
            .map(|snippet| (snippet.name.as_str(), snippet.code.as_str())),
    );
    match &code.manifest {
        Some(manifest) => source.with_manifest(manifest.as_str()),
        None => Ok(source),
    }
}

fn failure(error: BuildError) -> BuildFailure {
    match error {
        BuildError::Check(reason) => BuildFailure::Builder(reason),
        other => BuildFailure::Code(other.to_string()),
    }
}
