//! The agent's shell around `iottly_update`: a thread that looks for directives and moves the firmware.

mod actor;
mod admission;
mod directive_schedule;
mod directives;
mod fetch;
mod host;
mod mailbox;
mod messages;
mod question;
mod reporter;

pub(crate) use actor::{UpdateParts, UpdateThread};
pub(crate) use directives::Directives;
