//! Errors of keys, releases and repositories.

use std::io;
use std::path::Path;

/// Error of making a key or a release.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// A file cannot be read or written.
    #[error("{path}: {reason}")]
    File {
        /// Path of the file.
        path: String,
        /// Error of the operating system.
        reason: io::Error,
    },
    /// The contents of a file are invalid.
    #[error("{path}: {reason}")]
    Invalid {
        /// Path of the file.
        path: String,
        /// Description of the fault.
        reason: String,
    },
    /// A required key is missing.
    #[error("no key for {role} in {folder}")]
    NoKey {
        /// Role of the key.
        role: String,
        /// Folder of keys.
        folder: String,
    },
    /// The metadata would list more releases than devices can read.
    #[error(
        "{bytes} bytes of targets metadata are over the {max} that devices read: delete deployment groups, so that fewer releases are needed"
    )]
    TooMany {
        /// Size of the metadata, in bytes.
        bytes: usize,
        /// Maximum size that devices read, in bytes.
        max: u64,
    },
    /// The keys that are here are not those that the root names: devices would refuse what they sign.
    #[error(
        "the keys for {role} in {folder} are not those that root {version} names: devices would refuse what they sign (unknown_key)"
    )]
    Untrusted {
        /// Role of the keys.
        role: String,
        /// Folder of keys.
        folder: String,
        /// Version of the newest root.
        version: u64,
    },
    /// A change of keys that is not possible, with the reason.
    #[error("{0}")]
    Refused(String),
    /// The input is invalid.
    #[error("{0}")]
    Input(String),
}

impl ReleaseError {
    pub(crate) fn file(path: &Path, reason: io::Error) -> Self {
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
