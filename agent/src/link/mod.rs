//! The connection to the cloud: a pure [`session`], the MQTT client, and the task that joins them.

mod actor;
mod backoff;
mod client;
mod session;
mod track;
mod window;

pub(crate) use actor::{Actor, Delivery, LeftOut, Links, Receipt};
pub(crate) use client::Endpoint;

/// How far the link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// Not connected; the next attempt waits for its time.
    Offline,
    /// Connecting, or connected and waiting for the cloud's welcome.
    Connecting,
    /// Welcomed by the cloud.
    Online,
}
