//! Errors of setting the sandbox up, loading a component and starting a firmware.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::TrapReport;

/// Reason why the sandbox cannot run on this machine.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the sandbox: {0}")]
pub struct RuntimeError(pub(crate) String);

/// Reason why a wasm file does not become a firmware.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is larger than the sandbox accepts.
    #[error("firmware has {size} bytes, the limit is {limit}")]
    TooLarge {
        /// Size in bytes.
        size: usize,
        /// Maximum size in bytes.
        limit: usize,
    },
    /// The file is not a WebAssembly component, or is damaged.
    #[error("firmware is not a valid component: {0}")]
    Invalid(String),
    /// The component has imports that this device does not offer, or lacks the exports of a firmware.
    #[error("firmware does not fit the world iottly:firmware: {0}")]
    World(String),
    /// The manifest is damaged, wrong, or does not name something that the component imports.
    #[error("firmware manifest: {0}")]
    Manifest(String),
    /// The component is a script that is damaged or breaks a limit.
    #[error("firmware script: {0}")]
    Script(String),
    /// No engine here may run the script.
    #[error(
        "the script needs the engine {abi:?}{}, which this device does not have",
        exact.as_deref().map(|digest| format!(" of sha256 {digest}")).unwrap_or_default()
    )]
    NoEngine {
        /// Name of what the script relies on.
        abi: String,
        /// sha256 of the only engine that may run it, if it names one.
        exact: Option<String>,
    },
    /// The compiler failed.
    #[error("cannot compile the firmware: {0}")]
    Compile(#[from] CompileError),
    /// The cache's directory or files cannot be used.
    #[error("firmware cache {}: {source}", path.display())]
    Cache {
        /// Path of the file or directory.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
}

/// Reason why the compiler's process failed.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The program cannot be started.
    #[error("cannot start the compiler {}: {source}", path.display())]
    Start {
        /// Path of the program.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// The compiler took too long and was killed.
    #[error("the compiler was stopped after {0:?}")]
    Timeout(Duration),
    /// The compiler died or failed for a reason outside of the firmware.
    #[error("the compiler failed: {0}")]
    Failed(String),
    /// The compiler was built for another engine than this one.
    #[error("the compiler was built for a different engine version: {0}")]
    OtherEngine(String),
}

/// Reason why a firmware did not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The firmware was stopped during its instantiation.
    #[error("{0}")]
    Trap(Box<TrapReport>),
}
