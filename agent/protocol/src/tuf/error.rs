use super::client::FetchError;
use super::instant::Instant;

/// Why metadata or a target is not taken. Each names the file or role.
#[derive(Debug, thiserror::Error)]
pub enum TufError {
    /// The bytes are not metadata of this kind.
    #[error("{role}: malformed: {reason}")]
    Malformed {
        /// The role.
        role: String,
        /// What is wrong.
        reason: String,
    },
    /// Too few distinct keys of the role have signed.
    #[error("{role}: {have} of {need} signatures are valid")]
    Threshold {
        /// The role.
        role: String,
        /// Distinct keys with a valid signature.
        have: usize,
        /// How many are needed.
        need: usize,
        /// No signature is by a key of the role: the document may be newer than the trusted root.
        unknown_keys: bool,
    },
    /// The version is not the one that was asked for.
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
    /// Snapshot no longer names a file that it named.
    #[error("snapshot: {file} is not named any more")]
    Dropped {
        /// The file.
        file: String,
    },
    /// The time of the metadata is over.
    #[error("{role}: expired at {at}")]
    Expired {
        /// The role.
        role: String,
        /// When.
        at: Instant,
    },
    /// Length or digest differ from what was signed.
    #[error("{what}: {reason}")]
    Digest {
        /// The file.
        what: String,
        /// How it differs.
        reason: String,
    },
    /// More bytes than are allowed.
    #[error("{what}: over {limit} bytes")]
    TooLarge {
        /// The file.
        what: String,
        /// The limit, bytes.
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
    /// A file cannot be had.
    #[error("{what}: {reason}")]
    Fetch {
        /// The file.
        what: String,
        /// Why.
        reason: FetchError,
    },
    /// The device's own folder failed.
    #[error("trusted metadata {role}: {reason}")]
    Store {
        /// The role.
        role: String,
        /// What the system said.
        reason: std::io::Error,
    },
}
