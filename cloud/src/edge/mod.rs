//! Connections of strangers: how many there may be, from whom they come, and how they are accepted.
//!
//! Both listeners (MQTT and HTTP) use these parts. Every connection holds a place that is counted in all and
//! per address; a connection that has not proven anything yet gives its place to a newcomer when there is no
//! other.

mod accept;
mod address;
mod bounds;
mod greeting;
mod places;
mod proxy;

use ipnet::IpNet;

pub use accept::Acceptor;
pub use address::{AddressKey, Trusted, forwarded_for};
pub use bounds::{BoundsError, ConnectionBounds};
pub use greeting::{Peek, greet, peek_until};
pub use places::{Place, Places};

/// Rules for connections from outside.
#[derive(Debug, Clone)]
pub struct EdgeConfig {
    /// Networks whose hosts are proxies of ours: what they say about a client's address is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Numbers of connections that are allowed.
    pub bounds: ConnectionBounds,
}

impl EdgeConfig {
    /// Rules that fit the process's limit of file descriptors, `own` of which the process needs beside the
    /// cloud's own reserve.
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
    /// Returns rules without trusted proxies, within the process's limit where it is high enough and the
    /// smallest ones elsewhere.
    fn default() -> Self {
        let bounds = ConnectionBounds::for_process(0).unwrap_or(ConnectionBounds::SMALLEST);
        Self {
            trusted_proxies: Vec::new(),
            bounds,
        }
    }
}
