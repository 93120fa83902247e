//! Commands: their limits, the table of their status, the definitions that a new project starts with, and the
//! check of values against a definition.

mod seeded;
mod status;
mod validate;

pub use iottly_protocol::limits::MAX_VALUES_BYTES;
pub use seeded::seeded_definitions;
pub use status::CloudStep;
pub use validate::{InvalidCommand, validate};

/// Default time to live of a command, in milliseconds: 24 hours.
pub const DEFAULT_TTL_MS: i64 = 24 * 60 * 60 * 1000;
/// Maximum time to live of a command, in milliseconds: 30 days.
pub const MAX_TTL_MS: i64 = 30 * DEFAULT_TTL_MS;
/// Maximum number of commands that wait for one device.
pub const MAX_OPEN_COMMANDS: u64 = 1000;
/// Maximum bytes of values in the commands that wait for one device.
pub const MAX_OPEN_BYTES: u64 = 4 << 20;
/// Maximum number of commands that wait for the devices of one project.
pub const MAX_PROJECT_COMMANDS: u64 = 100_000;
/// Maximum bytes of values in the commands that wait for the devices of one project.
pub const MAX_PROJECT_BYTES: u64 = 256 << 20;
