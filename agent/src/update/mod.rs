//! The agent's shell around `iottly_update`: a thread that looks for directives and moves the firmware.

mod actor;
mod admission;
mod config;
mod considered;
mod directives;
mod fetch;
mod host;
mod mail;
mod messages;
mod voice;

pub(crate) use actor::{UpdateParts, UpdateThread};
pub use config::UpdateConfig;
pub(crate) use directives::Directives;
