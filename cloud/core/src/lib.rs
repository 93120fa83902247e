#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), warn(clippy::wildcard_enum_match_arm))]

pub mod alerts;
pub mod board;
pub mod clones;
pub mod code;
pub mod command;
pub mod enrol;
pub mod health;
pub mod history;
pub mod ingest;
pub mod jobs;
pub mod lease;
pub mod machine_login;
pub mod mail;
mod message_id;
pub mod model;
pub mod natural_order;
pub mod presence;
pub mod rate;
mod rate_limited_log;
pub mod refusals;
pub mod rollout;
mod seal;
pub mod series;
pub mod short_form;
pub mod timeline;
pub mod vault;
pub mod webhooks;

pub use message_id::MessageIds;
pub use rate_limited_log::RateLimitedLog;
pub use seal::{SealError, SealKey, SealNonce, Sealed};
