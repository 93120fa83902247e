//! `iottly --version --verbose`: versions of the program and its engines, the confinement of child processes on this
//! machine, and the licences of what the script engine contains.

use std::ffi::OsString;
use std::io::Write as _;

use anyhow::Context;
use iottly_sandbox::{Confinement, RUNTIME_VERSION};

use crate::exit::Failure;

/// Returns whether the arguments are `--version --verbose`, in any order.
pub(crate) fn is_asked(args: impl Iterator<Item = OsString>) -> bool {
    let args: Vec<OsString> = args.collect();
    let has = |names: &[&str]| args.iter().any(|arg| names.iter().any(|name| arg == name));
    args.len() == 2 && has(&["--version", "-V"]) && has(&["--verbose"])
}

/// Prints the versions.
///
/// # Errors
/// When standard output cannot be written.
pub(crate) fn print() -> Result<(), Failure> {
    let text = format!(
        "iottly {}\nwasmtime {RUNTIME_VERSION}\n{}\nconfinement of children: {}\n{}",
        env!("CARGO_PKG_VERSION"),
        iottly_engine::version(),
        Confinement::here(),
        iottly_engine::notices()
    );
    Ok(std::io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to standard output")?)
}
