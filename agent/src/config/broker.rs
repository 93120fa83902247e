//! Addresses of the broker and of a proxy in the configuration.

use std::net::SocketAddr;

use iottly_protocol::Secret;
use serde::Deserialize;

/// Port of MQTT over TLS unless an address names another: the one port of a cloud.
const SECURE_PORT: u16 = 8443;
/// Port of plain MQTT unless an address names another.
const PLAIN_PORT: u16 = 1883;

/// Way to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// MQTT over TCP, not encrypted.
    Plain,
    /// MQTT over TLS.
    Tls,
    /// MQTT over WebSocket over TLS.
    WebSocket,
}

/// Address of the broker: `mqtts://host[:port]`, `wss://host[:port]`, `mqtt://host[:port]` or `host:port`, which is
/// not encrypted either. IPv6 addresses are in brackets.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct BrokerAddress {
    /// Name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Way to the broker; a device with the address `mqtts://` also uses WebSocket when TLS alone does not pass.
    pub(crate) way: Way,
}

impl From<SocketAddr> for BrokerAddress {
    fn from(address: SocketAddr) -> Self {
        Self {
            host: address.ip().to_string(),
            port: address.port(),
            way: Way::Plain,
        }
    }
}

impl BrokerAddress {
    /// Returns true if everything on the way to the broker is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.way != Way::Plain
    }

    /// Returns the address of a cloud's one port, behind TLS.
    pub(crate) fn secure(host: &str, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            port,
            way: Way::Tls,
        }
    }
}

impl TryFrom<String> for BrokerAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (way, rest, port) = match text.split_once("://") {
            None => (Way::Plain, text.as_str(), None),
            Some(("mqtt", rest)) => (Way::Plain, rest, Some(PLAIN_PORT)),
            Some(("mqtts", rest)) => (Way::Tls, rest, Some(SECURE_PORT)),
            Some(("wss", rest)) => (
                Way::WebSocket,
                rest.strip_suffix("/mqtt").unwrap_or(rest),
                Some(SECURE_PORT),
            ),
            Some((scheme, _)) => {
                return Err(format!(
                    "broker address has the scheme {scheme:?}, not mqtts, wss or mqtt"
                ));
            }
        };
        let (host, port) =
            host_and_port(rest, port).ok_or("broker address is not host:port or mqtts://host:port")?;
        Ok(Self { host, port, way })
    }
}

/// Proxy for connections to the cloud: `http://[user:password@]host:port`; it is asked for tunnels (HTTP CONNECT).
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct ProxyAddress {
    /// Name or address, without brackets.
    pub(crate) host: String,
    /// TCP port.
    pub(crate) port: u16,
    /// User and password.
    pub(crate) credentials: Option<(String, Secret)>,
}

impl ProxyAddress {
    /// Returns the proxy that the environment names for HTTPS, if it is valid.
    pub(crate) fn of_environment() -> Option<Self> {
        let text = ["HTTPS_PROXY", "https_proxy"]
            .into_iter()
            .find_map(|name| std::env::var(name).ok().filter(|text| !text.is_empty()))?;
        match Self::try_from(text) {
            Ok(proxy) => Some(proxy),
            Err(error) => {
                tracing::warn!(error, "failed to read HTTPS_PROXY; connecting without a proxy");
                None
            }
        }
    }
}

impl TryFrom<String> for ProxyAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let malformed = "proxy is not http://[user:password@]host:port";
        let rest = text.strip_prefix("http://").ok_or(malformed)?;
        let (credentials, rest) = match rest.rsplit_once('@') {
            Some((credentials, rest)) => {
                let (user, password) = credentials.split_once(':').ok_or(malformed)?;
                (Some((user.to_owned(), Secret::new(password))), rest)
            }
            None => (None, rest),
        };
        let (host, port) = host_and_port(rest.trim_end_matches('/'), None).ok_or(malformed)?;
        Ok(Self {
            host,
            port,
            credentials,
        })
    }
}

/// Parses `host:port`; `host` alone if there is a default port.
fn host_and_port(text: &str, default: Option<u16>) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (
                host,
                if rest.is_empty() {
                    None
                } else {
                    Some(rest.strip_prefix(':')?)
                },
            )
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port != 0)?,
        None => default?,
    };
    (!host.is_empty() && !host.contains(['/', '@'])).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broker(text: &str) -> Result<(String, u16, Way), String> {
        BrokerAddress::try_from(text.to_owned()).map(|address| (address.host, address.port, address.way))
    }

    #[test]
    fn addresses_name_the_way() {
        for (text, host, port, way) in [
            ("localhost:1883", "localhost", 1883, Way::Plain),
            ("[::1]:1883", "::1", 1883, Way::Plain),
            ("mqtt://cloud.example", "cloud.example", 1883, Way::Plain),
            ("mqtts://cloud.example", "cloud.example", 8443, Way::Tls),
            ("mqtts://[2001:db8::1]:443", "2001:db8::1", 443, Way::Tls),
            ("wss://cloud.example/mqtt", "cloud.example", 8443, Way::WebSocket),
            ("wss://cloud.example:443", "cloud.example", 443, Way::WebSocket),
        ] {
            assert_eq!(broker(text), Ok((host.to_owned(), port, way)), "{text}");
        }
        for text in [
            "localhost",
            "::1:1883",
            "localhost:0",
            "mqtts://",
            "https://cloud.example",
            "mqtts://a@b",
            "a:b:1",
        ] {
            assert!(broker(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_proxy_may_want_a_password_which_is_never_printed() {
        let proxy =
            ProxyAddress::try_from("http://me:hunter2@proxy.example:3128".to_owned()).expect("a proxy");
        assert_eq!((proxy.host.as_str(), proxy.port), ("proxy.example", 3128));
        assert!(!format!("{proxy:?}").contains("hunter2"));
        for text in [
            "proxy.example:3128",
            "https://proxy.example:3128",
            "http://me@proxy:1",
            "http://proxy.example",
        ] {
            let error = ProxyAddress::try_from(text.to_owned()).expect_err(text);
            assert!(!error.contains("me@"), "{error}");
        }
    }
}
