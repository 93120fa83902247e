//! The agent's shell around `iottly_update`: a thread that looks for directives and replaces the firmware.

mod actor;
mod admission;
mod cloud_login;
mod directive_schedule;
mod directives;
mod fetch;
mod firmware_slot;
mod host;
mod mailbox;
mod messages;
mod orders;
mod question;
mod release_source;
mod reporter;
mod roots;

pub(crate) use actor::{UpdateParts, UpdateThread};
pub(crate) use directives::Directives;
