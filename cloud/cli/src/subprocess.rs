//! The short-lived child processes, compiler and check of scripts: this program itself under a hidden command, so that
//! one build makes all that runs.

use std::path::PathBuf;

use anyhow::Context;
use iottly_child::Program;
use iottly_sandbox::CompilerProgram;

/// Hidden command of the firmware compiler.
pub(crate) const COMPILE: &str = "__compile";
/// Hidden command of the check of scripts.
pub(crate) const CHECK_SCRIPT: &str = "__check-script";

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
