//! What a client reads at most, bytes unless named otherwise. Metadata that names a length of its own is held
//! to that.

/// Root metadata.
pub const ROOT_BYTES: u64 = 512_000;
/// Timestamp metadata.
pub const TIMESTAMP_BYTES: u64 = 16_384;
/// Snapshot metadata.
pub const SNAPSHOT_BYTES: u64 = 2_000_000;
/// Targets metadata of one role.
pub const TARGETS_BYTES: u64 = 5_000_000;
/// Root versions that one refresh follows.
pub const ROOT_STEPS: u64 = 256;
/// Delegated roles that one search asks.
pub const DELEGATIONS: usize = 32;
/// Key ids of one role.
pub const ROLE_KEYS: usize = 64;
/// Longest name of a role or path of a target that is taken.
pub const NAME_BYTES: usize = 1024;
