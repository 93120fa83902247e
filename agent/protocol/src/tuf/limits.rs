//! Limits of what a client reads, in bytes unless named otherwise. For metadata with a signed length that
//! length holds instead.

/// Maximum size of root metadata.
pub const ROOT_BYTES: u64 = 512_000;
/// Maximum size of timestamp metadata.
pub const TIMESTAMP_BYTES: u64 = 16_384;
/// Maximum size of snapshot metadata.
pub const SNAPSHOT_BYTES: u64 = 2_000_000;
/// Maximum size of targets metadata of one role.
pub const TARGETS_BYTES: u64 = 5_000_000;
/// Maximum number of root versions that one refresh follows.
pub const ROOT_STEPS: u64 = 256;
/// Maximum number of delegated roles in one search.
pub const DELEGATIONS: usize = 32;
/// Maximum number of key ids of one role.
pub const ROLE_KEYS: usize = 64;
/// Maximum size of a role's name or a target's path.
pub const NAME_BYTES: usize = 1024;
