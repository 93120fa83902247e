//! The firmware's life: loading, calls one after another on a thread of its own, restarts.

mod budget;
mod calls;
mod host;
mod jobs;
mod messages;
mod silence;
mod state;
mod supervisor;

pub(crate) use budget::WriteBudget;
pub(crate) use jobs::{Inputs, Jobs, News, Watch, channel};
pub(crate) use messages::agent_warning;
pub(crate) use supervisor::{FirmwareSource, Guest, Ports};
