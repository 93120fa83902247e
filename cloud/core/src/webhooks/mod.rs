//! Webhooks: which messages go where, when a delivery is tried again, what a request holds.
//!
//! All of it is decided without I/O: filters, retries, breaker, slots, addresses, bodies, signatures.

pub mod body;
pub mod breaker;
mod delivery;
pub mod guard;
pub mod headers;
pub mod lane;
pub mod matching;
pub mod schedule;
pub mod sign;
pub mod slots;
pub mod target;

pub use delivery::{Claim, Health};
pub use target::{HeaderList, SecretError, open_headers, sealed_headers, sealed_secret};

/// Most webhooks of a project.
pub const MAX_HOOKS: i64 = 5;
/// Most deliveries that wait for one webhook; beyond, the oldest are dropped and counted.
pub const MAX_WAITING: i64 = 100_000;
/// Most deliveries of one webhook that are kept after they failed or were skipped.
pub const MAX_FAILED: i64 = 100_000;
/// Most attempts that one webhook's log keeps.
pub const MAX_ATTEMPTS_LOGGED: i64 = 1000;
/// Most bytes of messages that are claimed at a time, unless a single one is longer.
pub const MAX_CLAIM_BYTES: u64 = 2 << 20;
/// Start of the reason of a failure when it is not known whether the message was for the webhook.
pub const NOT_MATCHED: &str = "not matched: ";
/// How long attempts and failed deliveries are kept: 30 days, in milliseconds.
pub const KEPT_MS: crate::model::UnixMs = 30 * 24 * 60 * 60 * 1000;
