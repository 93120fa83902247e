//! Way of the MQTT client to the broker: TCP, through a proxy if there is one, TLS, and a WebSocket if asked for.

use std::io;
use std::path::Path;
use std::sync::Arc;

use iottly_protocol::proxy::is_direct;
use iottly_update::read_file;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite;

use super::pin::Pin;
use super::tunnel::{self, TunnelError};
use super::verify;
use super::websocket;
use crate::config::{BrokerAddress, ProxyAddress, Way};
use crate::time::BoardClock;

/// Maximum size of a file of authorities, in bytes.
const MAX_CA_BYTES: u64 = 1 << 20;
/// Names of the protocols in the handshake (ALPN).
const ALPN_MQTT: &[u8] = b"mqtt";
const ALPN_HTTP: &[u8] = b"http/1.1";

/// Connection to the broker, ready for MQTT.
pub(super) enum Channel {
    /// MQTT in the TLS connection itself.
    Tls(Box<TlsStream<TcpStream>>),
    /// MQTT in the messages of a WebSocket.
    WebSocket(Box<WebSocketStream<TlsStream<TcpStream>>>),
}

/// Reason why there is no connection to the broker.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("failed to reach {0}: {1}")]
    Connect(String, io::Error),
    #[error(transparent)]
    Tunnel(#[from] TunnelError),
    #[error("TLS with {0}: {1}")]
    Tls(String, io::Error),
    #[error("WebSocket with {0}: {1}")]
    WebSocket(String, Box<tungstenite::Error>),
    /// The cloud has no room now.
    #[error("the cloud asks to come back later")]
    Busy {
        /// Time that the cloud asks to wait, in seconds.
        after_s: Option<u64>,
    },
}

/// Way to the broker, ready for use by any number of connections.
#[derive(Clone)]
pub(crate) struct Route {
    host: String,
    port: u16,
    named: Way,
    secure: Option<Secure>,
    proxy: Option<Arc<ProxyAddress>>,
}

/// Certificates that a device trusts.
pub(crate) enum Trust<'a> {
    /// Those of the authorities of the public web.
    Public,
    /// Those of the authorities in a PEM file.
    File(&'a Path),
    /// Those that a fingerprint leads to, for an enrolment.
    Pin(&'a Pin),
}

/// State that all encrypted connections share: one store of session tickets for each protocol, which make the next
/// handshake cheaper.
#[derive(Clone)]
struct Secure {
    server: ServerName<'static>,
    mqtt: TlsConnector,
    http: TlsConnector,
}

impl Route {
    /// Prepares the route to a broker. Certificates are checked against the time of `clock`.
    ///
    /// # Errors
    /// If the file cannot be read or contains no certificate; names the file. If the broker's name cannot be in a
    /// certificate.
    pub(crate) fn new(
        broker: &BrokerAddress,
        trust: Trust<'_>,
        proxy: Option<&ProxyAddress>,
        clock: BoardClock,
    ) -> io::Result<Self> {
        let secure = match broker.way {
            Way::Plain => None,
            Way::Tls | Way::WebSocket => Some(Secure::new(&broker.host, trust, clock)?),
        };
        let direct = secure.is_none() || is_direct(&format!("https://{}", bracketed(&broker.host)));
        Ok(Self {
            host: broker.host.clone(),
            port: broker.port,
            named: broker.way,
            secure,
            proxy: proxy.filter(|_| !direct).cloned().map(Arc::new),
        })
    }

    /// Returns the way that the configuration names.
    pub(super) const fn named(&self) -> Way {
        self.named
    }

    /// Returns host and port of the broker.
    pub(super) fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Opens an encrypted connection. The caller sets the time limit.
    ///
    /// # Errors
    /// See [`DialError`].
    pub(super) async fn dial(&self, way: Way) -> Result<Channel, DialError> {
        let stream = self.dial_tls(way == Way::WebSocket).await?;
        if way == Way::WebSocket {
            let socket = websocket::handshake(&self.authority(), stream).await?;
            return Ok(Channel::WebSocket(Box::new(socket)));
        }
        Ok(Channel::Tls(Box::new(stream)))
    }

    /// Opens an encrypted connection for HTTP. The caller sets the time limit.
    ///
    /// # Errors
    /// See [`DialError`].
    pub(super) async fn dial_http(&self) -> Result<TlsStream<TcpStream>, DialError> {
        self.dial_tls(true).await
    }

    /// Returns host and port as they stand in a URL.
    pub(super) fn authority(&self) -> String {
        format!("{}:{}", bracketed(&self.host), self.port)
    }

    async fn dial_tls(&self, http: bool) -> Result<TlsStream<TcpStream>, DialError> {
        let authority = self.authority();
        let Some(secure) = &self.secure else {
            let reason = io::Error::other("the address names no encrypted way");
            return Err(DialError::Tls(authority, reason));
        };
        let stream = match &self.proxy {
            Some(proxy) => {
                let address = format!("proxy {}:{}", bracketed(&proxy.host), proxy.port);
                let stream = connect(&proxy.host, proxy.port)
                    .await
                    .map_err(|error| DialError::Connect(address, error))?;
                tunnel::through(stream, proxy, &authority).await?
            }
            None => connect(&self.host, self.port)
                .await
                .map_err(|error| DialError::Connect(authority.clone(), error))?,
        };
        let connector = if http { &secure.http } else { &secure.mqtt };
        connector
            .connect(secure.server.clone(), stream)
            .await
            .map_err(|error| DialError::Tls(authority, error))
    }
}

impl Secure {
    fn new(host: &str, trust: Trust<'_>, clock: BoardClock) -> io::Result<Self> {
        let verifier: Arc<dyn ServerCertVerifier> = match trust {
            Trust::Public => verify::by_board_clock(verify::public_web(), clock)?,
            Trust::File(file) => verify::by_board_clock(read_authorities(file)?, clock)?,
            Trust::Pin(pin) => pin.verifier(clock),
        };
        let connector = |protocol: &[u8]| {
            let mut config = ClientConfig::builder_with_provider(verify::provider())
                .with_safe_default_protocol_versions()
                .expect("the provider supports the default versions of TLS")
                .dangerous()
                .with_custom_certificate_verifier(Arc::clone(&verifier))
                .with_no_client_auth();
            config.alpn_protocols = vec![protocol.to_vec()];
            TlsConnector::from(Arc::new(config))
        };
        let server = ServerName::try_from(host.to_owned())
            .map_err(|error: InvalidDnsNameError| io::Error::other(format!("broker {host:?}: {error}")))?;
        Ok(Self {
            server,
            mqtt: connector(ALPN_MQTT),
            http: connector(ALPN_HTTP),
        })
    }
}

async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Returns a host as it stands in a URL.
fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

fn read_authorities(file: &Path) -> io::Result<RootCertStore> {
    let named =
        |reason: String| io::Error::other(format!("certificate authorities {}: {reason}", file.display()));
    let text = read_file(file, MAX_CA_BYTES).map_err(|error| named(error.to_string()))?;
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| named(error.to_string()))?;
        store.add(certificate).map_err(|error| named(error.to_string()))?;
    }
    if store.is_empty() {
        return Err(named("contains no certificate".to_owned()));
    }
    Ok(store)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_authorities_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, "nothing").expect("written");
        let broker = BrokerAddress::try_from("mqtts://cloud.example:8443".to_owned()).expect("an address");
        for file in [file, folder.path().join("missing.pem")] {
            let clock = BoardClock::open(folder.path().join("clock"));
            let error = Route::new(&broker, Trust::File(&file), None, clock)
                .err()
                .expect("no authorities");
            assert!(error.to_string().contains(".pem"), "{error}");
        }
    }
}
