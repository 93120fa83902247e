//! The cloud as a library: broker, ingest, store, commands, REST API and dashboard.
//!
//! [`Cloud::start`](cloud::Cloud::start) assembles the parts below HTTP; request handlers use them through
//! [`Services`](cloud::Services). Decisions (validation, stream positions, presence) are pure and read no
//! clock.

pub mod api;
pub mod auth;
pub mod broker;
pub mod clock;
pub mod cloud;
pub mod code;
pub mod command;
pub mod dashboard;
mod data_lock;
pub mod device_config;
pub mod edge;
pub mod error;
pub mod history;
pub mod housekeeping;
pub mod http;
pub mod ingest;
pub mod live;
mod log_pace;
pub mod message_id;
pub mod metrics;
pub mod model;
pub mod presence;
pub mod rate;
mod reading;
pub mod releases;
pub mod rollout;
pub mod seal;
pub mod steady;
pub mod store;
pub mod turns;
mod vital;
pub mod webhooks;
