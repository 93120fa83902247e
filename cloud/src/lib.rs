//! Services of the cloud: broker, ingest, commands, releases, rollouts and webhooks, as a library.
//!
//! [`Cloud::start`](cloud::Cloud::start) assembles the parts; request handlers use them through
//! [`Services`](cloud::Services).

pub mod broker;
pub mod clock;
pub mod cloud;
pub mod command;
pub mod critical_tasks;
mod data_lock;
pub mod device_settings;
pub mod edge;
pub mod fair_queue;
pub mod housekeeping;
pub mod ingest;
pub mod live;
pub mod metrics;
pub mod reading;
pub mod releases;
pub mod rollout;
pub mod seal_file;
pub mod steady;
pub mod webhooks;
