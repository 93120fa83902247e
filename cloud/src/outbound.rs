//! HTTP clients and TLS for connections that the cloud makes: to webhooks and to an identity provider.

use std::sync::Arc;

use reqwest::redirect::Policy;
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;

/// Returns the beginning of every HTTP client of the cloud: no redirects, no proxy, and nothing of one address sent to another.
pub fn client(tls: rustls::ClientConfig) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(Policy::none())
        .no_proxy()
        .referer(false)
        .user_agent(concat!("iottly/", env!("CARGO_PKG_VERSION")))
}

/// Returns the TLS of a client that trusts the authorities of the web, those of this machine, and `extra`.
///
/// # Errors
/// If `extra` holds a certificate that cannot be read.
pub fn tls(extra: &[CertificateDer<'static>]) -> Result<rustls::ClientConfig, rustls::Error> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    // The public authorities are built in, because many systems have no certificates of their own.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for certificate in extra {
        roots.add(certificate.clone())?;
    }
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    Ok(builder
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
