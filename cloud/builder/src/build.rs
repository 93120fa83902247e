//! A build: a source becomes a component, which is checked before anybody gets it. Runs no script itself.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::{Source, SourceError};

/// Version of what [`Source::component`] writes. To be raised when equal sources give other bytes than before.
const FORMAT: u32 = 1;

/// Reason why files do not become firmware.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The files themselves cannot be a source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The script is wrong; the text begins with the place in the author's file: `main.js:3:5: SyntaxError: …`.
    #[error("{0}")]
    Script(String),
    /// A compiled module cannot become firmware.
    #[error("the module is not valid firmware: {0}")]
    Module(String),
    /// A component is not firmware that a device accepts.
    #[error("the component is not valid firmware: {0}")]
    Component(String),
    /// The check itself failed.
    #[error("cannot check the script: {0}")]
    Check(String),
}

/// Reason why a script did not pass its check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The script is wrong; the text begins with the place in the author's file or section.
    Script(String),
    /// The check itself failed, and says nothing about the script.
    Check(String),
}

/// Runs scripts before devices get them. The program provides it, so that no sandbox is linked where components are
/// only made.
pub trait ScriptCheck: Send + Sync {
    /// Runs the top level of the script in a component, where it reaches no device. Blocks for milliseconds, and for
    /// seconds if the script does not end.
    ///
    /// # Errors
    /// [`Refusal`], which separates faults of the script from failures of the check.
    fn check(&self, component: &[u8]) -> Result<(), Refusal>;
}

/// Builds a component from `source` and checks it.
///
/// # Errors
/// [`BuildError`], which separates faults of the author's source from failures of the platform.
pub fn build(source: &Source, check: &dyn ScriptCheck) -> Result<Vec<u8>, BuildError> {
    let component = source.component()?;
    check.check(&component).map_err(|refusal| match refusal {
        Refusal::Script(text) => BuildError::Script(text),
        Refusal::Check(text) => BuildError::Check(text),
    })?;
    Ok(component)
}

/// Returns the version of the builder; with another one the same source may give another component.
#[must_use]
pub fn version() -> String {
    let digest = Sha256::digest(format!("{FORMAT} {}", iottly_engine::ABI));
    digest.iter().take(8).fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}
