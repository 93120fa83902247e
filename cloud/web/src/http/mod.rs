//! The HTTP server: REST API, dashboard, release repositories and metrics, on one listener.

mod activity;
mod authority;
mod certificate;
mod docs;
mod exchange;
mod layers;
mod metrics;
mod repository;
mod router;
mod server;
mod silence;
mod span;
mod stream;
mod validity;
mod websocket;
mod zip;

use std::io;
use std::path::Path;
use std::sync::Arc;

pub use authority::{Authority, fingerprint};
pub use certificate::Certificate;
pub use router::router;
pub use server::Server;

/// Reads a certificate chain and its key, both PEM.
///
/// # Errors
/// When a file cannot be read or is invalid, or the two do not belong together; names the file.
pub fn tls(cert: &Path, key: &Path) -> io::Result<Arc<Certificate>> {
    Certificate::open(cert, key)
}
