use std::fmt;
use std::sync::Arc;

use iottly_core::model::Snippet;

/// Why code does not become a component.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildFailure {
    /// The code is at fault; the text begins with section and line.
    #[error("{0}")]
    Code(String),
    /// The builder did not come through.
    #[error("cannot build the firmware: {0}")]
    Builder(String),
}

/// Makes a component out of snippets.
pub type Build = dyn Fn(&[Snippet]) -> Result<Vec<u8>, BuildFailure> + Send + Sync;
/// Reads what of a board a component imports.
pub type Imports = dyn Fn(&[u8]) -> Result<Vec<String>, BuildFailure> + Send + Sync;

/// What turns code into components. The cloud's program brings it, so that no engine is linked into the
/// library.
#[derive(Clone)]
pub struct Builder {
    /// Names the builder: with another version the same code makes another component.
    pub version: String,
    /// Puts the snippets together, in the order given, and builds them in a confined child. Blocks for
    /// seconds.
    pub build: Arc<Build>,
    /// Says what of a board a component imports, sorted; an error when it is no firmware. Blocks.
    pub imports: Arc<Imports>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}
