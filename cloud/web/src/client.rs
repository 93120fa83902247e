//! Address of the client behind a request.

use std::net::IpAddr;

/// Address of a request's client: the peer of the connection, or the address that a trusted proxy names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientAddress(pub(crate) IpAddr);
