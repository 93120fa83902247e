//! The agent's shell around `iottly_update`: a thread that looks for directives and moves the firmware.

mod actor;
mod config;
mod directives;
mod host;
mod messages;

pub(crate) use actor::{UpdateParts, UpdateThread};
pub use config::UpdateConfig;
pub(crate) use directives::Directives;
