//! Commands: their limits, the definitions that a new project starts with, and the check of values against a definition.

mod seeded;
mod validate;

pub use seeded::seeded_definitions;
pub use validate::{InvalidCommand, validate};

/// How long a command is worth running unless its sender says otherwise: 24 hours, in milliseconds.
pub const DEFAULT_TTL_MS: i64 = 24 * 60 * 60 * 1000;
/// Longest time to live a sender may ask for: 30 days, in milliseconds.
pub const MAX_TTL_MS: i64 = 30 * DEFAULT_TTL_MS;
/// Longest encoded values of a command, bytes.
pub const MAX_VALUES_BYTES: usize = 64 << 10;
/// Most commands that wait for one device.
pub const MAX_OPEN_COMMANDS: u64 = 1000;
/// Most bytes of values in the commands that wait for one device.
pub const MAX_OPEN_BYTES: u64 = 4 << 20;
/// Most commands that wait for the devices of one project.
pub const MAX_PROJECT_COMMANDS: u64 = 100_000;
/// Most bytes of values in the commands that wait for the devices of one project.
pub const MAX_PROJECT_BYTES: u64 = 256 << 20;
