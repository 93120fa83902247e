//! The firmware's life: loading, calls one after another on a thread of its own, restarts.

mod host;
mod messages;
mod restart;
mod state;
mod supervisor;
mod throttle;

pub(crate) use messages::agent_warning;
pub(crate) use supervisor::{FirmwareSource, Guest, Inputs, Jobs, Ports, channel};
