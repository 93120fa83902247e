//! Reasons for which metadata or a target is not trusted.

use super::client::FetchError;
use super::instant::Instant;

/// Reason why metadata or a target is not trusted. Each names the file or role.
#[derive(Debug, thiserror::Error)]
pub enum TufError {
    /// The bytes are not metadata of this kind.
    #[error("{role}: malformed: {reason}")]
    Malformed {
        /// The role.
        role: String,
        /// Details for people.
        reason: String,
    },
    /// Too few distinct keys of the role have signed.
    #[error("{role}: {have} of {need} signatures are valid")]
    Threshold {
        /// The role.
        role: String,
        /// Distinct keys with a valid signature.
        have: usize,
        /// Number of keys that are needed.
        need: usize,
        /// True if no signature is by a key of the role: the document may be newer than the trusted root.
        unknown_keys: bool,
    },
    /// The version is not the requested one.
    #[error("{role}: version {got} instead of {expected}")]
    Version {
        /// The role.
        role: String,
        /// The version that trusted metadata names.
        expected: u64,
        /// The version of the file.
        got: u64,
    },
    /// The file is older than what was trusted before.
    #[error("{role}: version {got} after {trusted} was trusted")]
    Rollback {
        /// The role, or the file that it names.
        role: String,
        /// The version that was trusted.
        trusted: u64,
        /// The version of the file.
        got: u64,
    },
    /// The snapshot does not name a file any more.
    #[error("snapshot: {file} is not named any more")]
    Dropped {
        /// The file.
        file: String,
    },
    /// The metadata has expired.
    #[error("{role}: expired at {at}")]
    Expired {
        /// The role.
        role: String,
        /// Moment of the expiry.
        at: Instant,
    },
    /// Length or digest differ from what was signed.
    #[error("{what}: {reason}")]
    Digest {
        /// The file.
        what: String,
        /// Details for people.
        reason: String,
    },
    /// The file has more bytes than are allowed.
    #[error("{what}: over {limit} bytes")]
    TooLarge {
        /// The file.
        what: String,
        /// Maximum size, in bytes.
        limit: u64,
    },
    /// A delegated role is not in the snapshot.
    #[error("role {role} is delegated, but the snapshot does not name it")]
    NotInSnapshot {
        /// The role.
        role: String,
    },
    /// No role that may, describes the target.
    #[error("target {path} is not found")]
    NoTarget {
        /// The target's path.
        path: String,
    },
    /// A file cannot be fetched.
    #[error("{what}: {reason}")]
    Fetch {
        /// The file.
        what: String,
        /// Reason of the failure.
        reason: FetchError,
    },
    /// The device's own folder fails.
    #[error("trusted metadata {role}: {reason}")]
    Store {
        /// The role.
        role: String,
        /// Error of the system.
        reason: std::io::Error,
    },
}
