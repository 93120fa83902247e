//! The two short-lived children: this very program under a hidden command, so that one build makes all that runs.

use std::path::PathBuf;

use anyhow::Context;
use iottly_builder::BuilderProgram;
use iottly_sandbox::CompilerProgram;

/// Hidden command of the firmware compiler.
pub(crate) const COMPILE: &str = "__compile";
/// Hidden command of the script builder.
pub(crate) const BUILD_JS: &str = "__build-js";

fn itself() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("cannot find this program's own file")
}

/// How to start the firmware compiler.
pub(crate) fn compiler() -> anyhow::Result<CompilerProgram> {
    Ok(CompilerProgram { path: itself()?, args: vec![COMPILE.into()] })
}

/// How to start the script builder.
pub(crate) fn builder() -> anyhow::Result<BuilderProgram> {
    Ok(BuilderProgram { path: itself()?, args: vec![BUILD_JS.into()] })
}
