#![doc = include_str!("../README.md")]

mod clock;
mod config;
mod datadir;
mod developer;
mod files;
mod folder_check;
mod grants;
mod guest;
mod inbox;
mod lifecycle;
mod link;
pub mod outbox;
mod settings;
mod status;
mod threads;
mod throttle;
mod time;
mod update;
mod watchdog;
mod work;

pub use config::{
    AgentConfig, BoardKind, BrokerAddress, Compiler, ConfigError, ProxyAddress, QueueConfig, Secret,
    UpdateConfig,
};
pub use datadir::DataDirError;
pub use grants::Grants;
pub use inbox::JournalError;
pub use lifecycle::{Agent, AgentError, AgentHandle};
pub use status::{AgentStatus, FirmwareStatus, LinkState};
pub use watchdog::HUNG_EXIT;
