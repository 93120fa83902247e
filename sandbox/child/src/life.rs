//! The `main` of a child process: bounds first, then the work, then its result. Does not know the work
//! itself.

use std::io::Write;
use std::process::ExitCode;

use crate::confine::{Bounds, confine};
use crate::probe::{PROBE_VAR, probe};

/// Exit code of a child whose input is at fault; standard error holds the reason.
pub const BAD_INPUT: u8 = 65;
/// Exit code of a child that does not belong to this parent; standard error holds the reason.
pub const WRONG_CHILD: u8 = 78;
/// Exit code of every other failure.
const FAILED: u8 = 70;

/// Failure of a child's work: an exit code for the parent and a reason for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    code: u8,
    reason: String,
}

impl Failure {
    /// Returns a failure of the input.
    #[must_use]
    pub fn bad_input(reason: String) -> Self {
        Self {
            code: BAD_INPUT,
            reason,
        }
    }

    /// Returns a failure of the pairing: the parent expects another child.
    #[must_use]
    pub fn wrong_child(reason: String) -> Self {
        Self {
            code: WRONG_CHILD,
            reason,
        }
    }

    /// Returns a failure of the machine or of the child itself.
    #[must_use]
    pub fn failed(reason: String) -> Self {
        Self { code: FAILED, reason }
    }
}

/// Runs a child's whole life: binds the process to `bounds`, runs `work`, writes its result to standard
/// output and the reason of a failure to standard error.
///
/// Has to be called before anything else in the program's `main`, since it limits the whole process. With
/// [`PROBE_VAR`] set the result is a list of what the confined process can still reach, and `work` is not
/// run.
#[must_use]
pub fn main(bounds: Bounds<'_>, work: impl FnOnce() -> Result<Vec<u8>, Failure>) -> ExitCode {
    match run(bounds, work) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // A parent that has ended does not read the reason either.
            let _ = writeln!(std::io::stderr(), "{}", failure.reason);
            ExitCode::from(failure.code)
        }
    }
}

fn run(bounds: Bounds<'_>, work: impl FnOnce() -> Result<Vec<u8>, Failure>) -> Result<(), Failure> {
    confine(bounds).map_err(|error| Failure::failed(format!("cannot limit the process: {error}")))?;
    let result = if std::env::var_os(PROBE_VAR).is_some() {
        probe().into_bytes()
    } else {
        work()?
    };
    let mut out = std::io::stdout().lock();
    out.write_all(&result)
        .and_then(|()| out.flush())
        .map_err(|error| Failure::failed(format!("cannot write the result: {error}")))
}
