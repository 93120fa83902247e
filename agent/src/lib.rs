#![doc = include_str!("../README.md")]

mod access;
mod board_view;
mod clock;
mod config;
mod datadir;
mod developer;
mod enroll;
mod files;
mod first_start;
mod folder_check;
mod grants;
mod guest;
mod health;
mod identity;
mod inbox;
mod legacy;
mod lifecycle;
mod link;
pub mod outbox;
mod program_pages;
mod renewal;
mod settings;
mod status;
mod status_socket;
mod threads;
mod throttle;
mod time;
mod update;
mod watchdog;
mod work;

pub use access::{Access, POLICY_FILE, Policy, PolicyError};
pub use config::{
    AgentConfig, BoardKind, BrokerAddress, Compiler, ConfigError, ProxyAddress, QueueConfig, UpdateConfig,
};
pub use datadir::DataDirError;
pub use enroll::{
    EnrollCode, EnrollError, EnrollOptions, EnrollTrust, MadeIdentity, Screen, enroll, generalize,
};
pub use first_start::enroll_when_new;
pub use grants::Grants;
pub use identity::IdentityError;
pub use inbox::JournalError;
pub use legacy::upgrade;
pub use lifecycle::{Agent, AgentError, AgentHandle};
pub use program_pages::give_back_when_settled;
pub use status::{AgentStatus, FirmwareStatus, LinkState};
pub use status_socket::{StatusReport, StatusSocket, ask_status};
pub use watchdog::{HUNG_EXIT, report_ready, report_stopping};
