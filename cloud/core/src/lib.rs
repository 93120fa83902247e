//! Model and decisions of the cloud: no I/O, no runtime, no clock.
//!
//! Every function here decides from its arguments alone, time included, so that it can be tested without a
//! database, a broker or a server. `iottly-store` keeps the model, `iottly-cloud` carries the decisions out.

#![cfg_attr(not(test), warn(clippy::wildcard_enum_match_arm))]

pub mod code;
pub mod command;
pub mod history;
pub mod ingest;
mod message_id;
pub mod model;
pub mod presence;
pub mod rate;
mod rate_limited_log;
pub mod rollout;
mod seal;
pub mod webhooks;

pub use message_id::MessageIds;
pub use rate_limited_log::RateLimitedLog;
pub use seal::{SealError, SealKey, Sealed};
