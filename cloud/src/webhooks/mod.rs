//! Webhooks: stored messages, posted to URLs that a project chose.
//!
//! A delivery is written in the transaction that stores its message ([`matching`] decides for which webhooks,
//! and leaves expensive filters to the worker). A worker claims it with a lease and sends it at least once,
//! under an id that stays the same. Decisions (retries, breaker, slots, addresses, bodies, signatures) are
//! pure; `worker` does the I/O.

pub mod body;
pub mod breaker;
mod fresh;
pub mod guard;
pub mod headers;
pub mod matching;
pub mod schedule;
pub mod sign;
mod slots;
mod target;
mod worker;

pub use fresh::Fresh;
pub use target::{HeaderList, SecretError, open_headers, sealed_headers, sealed_secret};
pub use worker::{Attempted, Deliverer, DelivererHandle, DelivererParts, SetupError, WebhookConfig};

/// Maximum number of webhooks of a project.
pub const MAX_HOOKS: i64 = 5;
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
