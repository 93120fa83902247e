//! Decisions about webhooks: matching messages, retries, breaker, slots, addresses, bodies and signatures.
//!
//! Does no I/O; the worker that sends requests is in the cloud.

pub mod body;
pub mod breaker;
mod delivery;
pub mod guard;
pub mod headers;
pub mod lane;
pub mod matching;
pub mod schedule;
mod secrets;
pub mod sign;
pub mod slots;
pub mod target;

pub use delivery::{Claim, Health};
pub use secrets::{HeaderList, SecretError, open_headers, sealed_headers, sealed_secret};

/// Maximum number of webhooks of a project.
pub const MAX_WEBHOOKS: i64 = 5;
/// Maximum number of waiting deliveries of a webhook; beyond it, the oldest are dropped and counted.
pub const MAX_WAITING: i64 = 100_000;
/// Maximum number of failed or skipped deliveries of a webhook that are kept.
pub const MAX_FAILED: i64 = 100_000;
/// Maximum number of attempts in a webhook's log.
pub const MAX_ATTEMPTS_LOGGED: i64 = 1000;
/// Maximum size of messages that are claimed at once, in bytes; a single longer one is claimed alone.
pub const MAX_CLAIM_BYTES: u64 = 2 << 20;
/// Prefix of a failure's reason when it is not known whether the message matched the webhook.
pub const NOT_MATCHED: &str = "not matched: ";
/// Time for which attempts and failed deliveries are kept: 30 days, in milliseconds.
pub const KEPT_MS: crate::model::UnixMs = 30 * 24 * 60 * 60 * 1000;
