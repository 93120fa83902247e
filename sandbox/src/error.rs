use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::TrapReport;

/// Why the sandbox cannot run on this machine.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the sandbox: {0}")]
pub struct RuntimeError(pub(crate) String);

/// Why a wasm file does not become a firmware.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It is larger than the sandbox takes.
    #[error("firmware has {size} bytes, the limit is {limit}")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// It is not a WebAssembly component, or a damaged one.
    #[error("firmware is not a valid component: {0}")]
    Invalid(String),
    /// It wants imports this device does not have, or lacks the exports of a firmware.
    #[error("firmware does not fit the world iottly:firmware: {0}")]
    World(String),
    /// Its manifest is damaged, wrong, or silent about something that it imports.
    #[error("firmware manifest: {0}")]
    Manifest(String),
    /// The compiler did not come through.
    #[error("cannot compile the firmware: {0}")]
    Compile(#[from] CompileError),
    /// The cache's directory or files cannot be used.
    #[error("firmware cache {}: {source}", path.display())]
    Cache {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Why the compiler's process failed.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The program cannot be started.
    #[error("cannot start the compiler {}: {source}", path.display())]
    Start {
        /// The program.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It took too long and was killed.
    #[error("the compiler was stopped after {0:?}")]
    Timeout(Duration),
    /// It died or gave up for a reason that does not lie in the firmware.
    #[error("the compiler failed: {0}")]
    Failed(String),
    /// It was built for another engine than this one.
    #[error("the compiler does not belong to this agent: {0}")]
    OtherEngine(String),
}

/// Why a firmware did not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// It was stopped while its memory was being set up.
    #[error("{0}")]
    Trap(Box<TrapReport>),
}
