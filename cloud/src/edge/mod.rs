//! Limits for connections of unauthenticated clients: their number, their addresses, and how they are
//! accepted.
//!
//! Both listeners (MQTT and HTTP) use these parts. Every connection has a place, counted in total and per
//! address. When no place is free, a connection that is not authenticated yet loses its place to a newcomer.

mod accept;
mod address;
mod bounds;
mod client_address;
mod places;
mod prefixed;
mod proxy;
mod turns;

use ipnet::IpNet;

pub use accept::Acceptor;
pub use address::{AddressKey, Trusted, forwarded_for};
pub use bounds::{BoundsError, ConnectionBounds};
pub use client_address::{Peek, peek_until, read_client_address};
pub use places::{Place, Places};
pub use prefixed::Prefixed;
pub use turns::Turns;

/// Rules for connections from outside.
#[derive(Debug, Clone)]
pub struct EdgeConfig {
    /// Networks of trusted proxies, whose information about a client's address is used.
    pub trusted_proxies: Vec<IpNet>,
    /// Maximum numbers of connections.
    pub bounds: ConnectionBounds,
}

impl EdgeConfig {
    /// Returns rules that fit the process's limit of file descriptors, `own` of which the process needs in
    /// addition to the cloud's own reserve.
    ///
    /// # Errors
    /// When the limit is too low for a cloud.
    pub fn for_process(own: usize) -> Result<Self, BoundsError> {
        Ok(Self {
            trusted_proxies: Vec::new(),
            bounds: ConnectionBounds::for_process(own)?,
        })
    }
}

impl Default for EdgeConfig {
    /// Returns rules without trusted proxies, within the process's limit if it is high enough, else the
    /// smallest ones.
    fn default() -> Self {
        let bounds = ConnectionBounds::for_process(0).unwrap_or(ConnectionBounds::SMALLEST);
        Self {
            trusted_proxies: Vec::new(),
            bounds,
        }
    }
}
