//! Interface to the builder that the program provides. Links no engine into the library.

use std::fmt;
use std::sync::Arc;

use crate::releases::OfferedEngine;
use iottly_core::model::BranchCode;

/// Error of building a component.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildFailure {
    /// The code is at fault; the text begins with section and line.
    #[error("{0}")]
    Code(String),
    /// The builder failed.
    #[error("cannot build the firmware: {0}")]
    Builder(String),
}

/// Builds a component from a branch's code.
pub type Build = dyn Fn(&BranchCode) -> Result<Vec<u8>, BuildFailure> + Send + Sync;
/// Returns the capabilities that a component can use.
pub type Capabilities = dyn Fn(&[u8]) -> Result<Vec<String>, BuildFailure> + Send + Sync;

/// Functions that turn code into components. The program provides them, so that no engine is linked into the
/// library.
#[derive(Clone)]
pub struct Builder {
    /// Version of the builder; another version builds another component from the same code.
    pub version: String,
    /// Assembles the snippets in the given order, makes a component of them and the manifest, and checks it in a confined
    /// child process. Blocks for milliseconds, and for seconds if the code does not end.
    pub build: Arc<Build>,
    /// Returns the capabilities that a component can use, sorted; an error if it is not a firmware. Blocks.
    pub capabilities: Arc<Capabilities>,
    /// Script engine of the program, which releases bring to devices that have none that fits.
    pub engine: Option<OfferedEngine>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}
