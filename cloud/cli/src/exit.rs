//! Exit codes, the same for every command: 0 ok, 1 failed, 2 usage or invalid input, 3 not authorised, 4 not
//! found, 5 a rollout ended and devices of it failed, 124 not done in time.

use std::io::ErrorKind;
use std::process::ExitCode;

use crate::say::insist;

/// Reason why a command ends with another code than 0.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An operation failed: 1.
    Failed(anyhow::Error),
    /// The input is invalid: 2.
    Invalid(String),
    /// The token does not allow it: 3.
    NotAuthorised(String),
    /// The requested object does not exist: 4.
    NotFound(String),
    /// A rollout ended, and devices of it failed: 5.
    Devices(String),
    /// The time for waiting ended first: 124, as of `timeout`.
    Timeout(String),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(error) => write!(f, "{error:#}"),
            Self::Invalid(reason)
            | Self::NotAuthorised(reason)
            | Self::NotFound(reason)
            | Self::Devices(reason)
            | Self::Timeout(reason) => f.write_str(reason),
        }
    }
}

/// Prints the failure, if any, and returns its exit code. A closed standard output is not a failure.
pub(crate) fn report(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Failed(error)) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(Failure::Failed(error)) => {
            insist(&format!("iottly: {error:#}"));
            ExitCode::from(1)
        }
        Err(Failure::Invalid(reason)) => {
            insist(&format!("iottly: {reason}"));
            ExitCode::from(2)
        }
        Err(Failure::NotAuthorised(reason)) => {
            insist(&format!("iottly: {reason}"));
            ExitCode::from(3)
        }
        Err(Failure::NotFound(reason)) => {
            insist(&format!("iottly: {reason}"));
            ExitCode::from(4)
        }
        Err(Failure::Devices(reason)) => {
            insist(&format!("iottly: {reason}"));
            ExitCode::from(5)
        }
        Err(Failure::Timeout(reason)) => {
            insist(&format!("iottly: {reason}"));
            ExitCode::from(124)
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == ErrorKind::BrokenPipe)
}
