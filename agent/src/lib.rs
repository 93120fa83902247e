//! The board daemon: runs firmware in a sandbox, keeps what it says in a durable queue and delivers it to the
//! cloud.
//!
//! ```text
//! firmware ── guest ──▶ outbox (disk) ──▶ link ──▶ broker ──▶ cloud
//!                ▲                          │
//!                └── inbox (journal) ◀──────┘ commands
//! ```
//!
//! Decisions are state machines without I/O or clock (`link::session`, `inbox::machine`, `sandbox`);
//! actors around them perform what they decide. A message leaves the queue only when the cloud says that it
//! is stored.

mod clock;
mod config;
mod datadir;
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
    AgentConfig, BoardKind, BrokerAddress, Compiler, ConfigError, QueueConfig, Secret, UpdateConfig,
};
pub use datadir::DataDirError;
pub use grants::Grants;
pub use inbox::JournalError;
pub use lifecycle::{Agent, AgentError, AgentHandle};
pub use status::{AgentStatus, FirmwareStatus, LinkState};
pub use watchdog::HUNG_EXIT;
