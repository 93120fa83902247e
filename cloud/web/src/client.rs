//! Address of the client behind a request.

use std::net::IpAddr;

use axum::http::Extensions;

/// Address of a request's client: the peer of the connection, or the address that a trusted proxy names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientAddress(pub(crate) IpAddr);

/// Returns the address of a request's client; none for a request that came without a connection.
pub(crate) fn client_address(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get().map(|ClientAddress(address)| *address)
}
