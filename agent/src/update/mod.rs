//! The agent's shell around `iottly_update`: a thread that looks for directives and moves the firmware.

mod actor;
mod admission;
mod considered;
mod directives;
mod fetch;
mod host;
mod mail;
mod messages;
mod question;
mod voice;

pub(crate) use actor::{UpdateParts, UpdateThread};
pub(crate) use directives::Directives;
