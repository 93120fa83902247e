use std::io;
use std::path::Path;

/// Why a key or a release cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// A file cannot be read or written.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        reason: io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: {reason}")]
    Invalid {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// A key that is needed is not there.
    #[error("no key for {role} in {folder}")]
    NoKey {
        /// The role.
        role: String,
        /// The folder of keys.
        folder: String,
    },
    /// There would be more releases than devices can read.
    #[error(
        "{bytes} bytes of targets metadata are over the {max} that devices read: delete deployment groups, so that fewer releases are needed"
    )]
    TooMany {
        /// Length of the metadata, in bytes.
        bytes: usize,
        /// Longest that devices read, in bytes.
        max: u64,
    },
    /// What was asked for makes no sense.
    #[error("{0}")]
    Input(String),
}

impl ReleaseError {
    pub(super) fn file(path: &Path, reason: io::Error) -> Self {
        Self::File {
            path: path.display().to_string(),
            reason,
        }
    }

    pub(super) fn invalid(path: &Path, reason: impl ToString) -> Self {
        Self::Invalid {
            path: path.display().to_string(),
            reason: reason.to_string(),
        }
    }
}
