//! Transport and proxy of the MQTT client, made from the configuration.

use std::io;
use std::path::Path;
use std::sync::Arc;

use iottly_protocol::proxy::is_direct;
use iottly_update::read_file;
use rumqttc::{MqttOptions, Proxy, ProxyAuth, ProxyType, TlsConfiguration, Transport};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::config::{BrokerAddress, ProxyAddress, Way};

/// Maximum size of a file of authorities, in bytes.
const MAX_CA_BYTES: u64 = 1 << 20;
/// Path of MQTT over WebSocket.
const PATH: &str = "/mqtt";
/// Names of the protocols in the handshake (ALPN).
const ALPN_MQTT: &[u8] = b"mqtt";
const ALPN_HTTP: &[u8] = b"http/1.1";

/// Way to the broker, ready for use by any number of connections.
#[derive(Clone)]
pub(crate) struct Route {
    host: String,
    port: u16,
    named: Way,
    authorities: Arc<RootCertStore>,
    proxy: Option<Proxy>,
}

impl Route {
    /// Prepares the route to a broker. `ca` is a PEM file of the authorities to trust; without it, those of the public
    /// web.
    ///
    /// # Errors
    /// When the file cannot be read or contains no certificate; names the file.
    pub(crate) fn new(
        broker: &BrokerAddress,
        ca: Option<&Path>,
        proxy: Option<&ProxyAddress>,
    ) -> io::Result<Self> {
        let encrypted = broker.way != Way::Plain;
        let authorities = match ca {
            Some(file) if encrypted => read_authorities(file)?,
            _ => RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        };
        let direct = !encrypted || is_direct(&format!("https://{}", host_of(&broker.host)));
        Ok(Self {
            host: broker.host.clone(),
            port: broker.port,
            named: broker.way,
            authorities: Arc::new(authorities),
            proxy: proxy.filter(|_| !direct).map(through),
        })
    }

    /// Returns the way that the configuration names.
    pub(super) const fn named(&self) -> Way {
        self.named
    }

    /// Returns the options of a client with this id, for one way.
    pub(super) fn options(&self, id: String, way: Way) -> MqttOptions {
        let mut options = match way {
            Way::Plain | Way::Tls => MqttOptions::new(id, self.host.clone(), self.port),
            Way::WebSocket => {
                let url = format!("wss://{}:{}{PATH}", host_of(&self.host), self.port);
                MqttOptions::new(id, url, self.port)
            }
        };
        match way {
            Way::Plain => {}
            Way::Tls => {
                options.set_transport(Transport::Tls(self.tls(ALPN_MQTT)));
            }
            Way::WebSocket => {
                options.set_transport(Transport::Wss(self.tls(ALPN_HTTP)));
            }
        }
        if let Some(proxy) = &self.proxy {
            options.set_proxy(proxy.clone());
        }
        options
    }

    fn tls(&self, protocol: &[u8]) -> TlsConfiguration {
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider supports the default versions of TLS")
            .with_root_certificates(Arc::clone(&self.authorities))
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        TlsConfiguration::Rustls(Arc::new(config))
    }
}

/// Returns a host as it stands in a URL.
fn host_of(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

fn through(proxy: &ProxyAddress) -> Proxy {
    let auth = match &proxy.credentials {
        Some((username, password)) => ProxyAuth::Basic {
            username: username.clone(),
            password: password.expose().to_owned(),
        },
        None => ProxyAuth::None,
    };
    Proxy {
        ty: ProxyType::Http,
        auth,
        addr: proxy.host.clone(),
        port: proxy.port,
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
            let error = Route::new(&broker, Some(&file), None)
                .err()
                .expect("no authorities");
            assert!(error.to_string().contains(".pem"), "{error}");
        }
    }
}
