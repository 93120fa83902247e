//! Services of the cloud: broker, ingest, commands, releases, rollouts and webhooks, as a library.
//!
//! [`Cloud::start`] assembles the parts; request handlers use them through [`Services`].

mod alerts;
pub mod backup;
pub mod boards;
pub mod broker;
pub mod clock;
mod cloud;
pub mod command;
mod critical_tasks;
mod data_lock;
mod device_settings;
pub mod edge;
pub mod enrolment;
mod fair_queue;
mod guarded_clock;
mod health;
pub mod history_reader;
pub mod holds;
pub mod housekeeping;
pub mod ingest;
pub mod jobs;
mod key_places;
pub mod leases;
mod links;
pub mod live;
pub mod mails;
mod metrics;
pub mod outbound;
mod presence;
pub mod random;
pub mod refusals;
pub mod releases;
pub mod rollout;
pub mod seal_file;
pub mod series;
pub mod webhooks;

pub use alerts::CertificateEnd;
pub use cloud::{Cloud, CloudConfig, PRESENCE_GRACE, Services, StartError, database_path, restore};
pub use critical_tasks::CriticalTasks;
pub use device_settings::DeviceSettingsService;
pub use fair_queue::Turn;
pub use guarded_clock::GuardedClock;
pub use health::HealthService;
pub use key_places::KeyPlaces;
pub use metrics::Metrics;
pub use presence::{PresenceCounts, PresenceService};
