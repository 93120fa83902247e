//! Decides from the options where the cloud listens and in which protocols. Opens nothing.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::exit::Failure;

/// Default address of everything over TLS.
const DEFAULT_SECURE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8443);
/// Default address of plain MQTT beside plain HTTP.
pub(super) const DEFAULT_MQTT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1883);

/// Addresses that the options name.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wanted {
    pub(super) listen: Option<SocketAddr>,
    pub(super) http: Option<SocketAddr>,
    pub(super) mqtt: Option<SocketAddr>,
    /// True if a certificate was given: then `http` is served over TLS.
    pub(super) certificate: bool,
    pub(super) insecure: bool,
}

/// Listeners of a cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listeners {
    /// HTTPS, MQTT and MQTT over WebSocket on one port.
    pub(super) secure: Option<SocketAddr>,
    /// HTTP without TLS.
    pub(super) http: Option<SocketAddr>,
    /// MQTT without TLS.
    pub(super) mqtt: Option<SocketAddr>,
}

impl Listeners {
    /// Returns true if something that is not encrypted can be reached from other machines.
    pub(super) fn are_open(&self) -> bool {
        self.http.into_iter().chain(self.mqtt).any(is_open)
    }
}

/// Returns the listeners for the options: one port with TLS unless they name others.
///
/// # Errors
/// [`Failure::Invalid`] when something would be offered to other machines without encryption, with the options to use.
pub(super) fn plan(wanted: Wanted) -> Result<Listeners, Failure> {
    let secure = match (wanted.listen, wanted.http, wanted.mqtt) {
        (Some(address), ..) => Some(address),
        (None, Some(http), _) if wanted.certificate => Some(http),
        (None, None, None) => Some(DEFAULT_SECURE),
        (None, ..) => None,
    };
    let http = wanted.http.filter(|http| secure != Some(*http));
    let mqtt = match wanted.mqtt {
        None if wanted.listen.is_none() && wanted.http.is_some() => Some(DEFAULT_MQTT),
        named => named,
    };
    let listeners = Listeners { secure, http, mqtt };
    let named = [("--http", http), ("--mqtt", mqtt)];
    let open = named
        .into_iter()
        .find_map(|(option, address)| Some((option, address.filter(|it| is_open(*it))?)));
    match open {
        Some((option, address)) if !wanted.insecure => Err(Failure::Invalid(format!(
            "{option} {address} would serve other machines without encryption; use `--listen {address}`, which carries \
             HTTPS and MQTT behind TLS on one port, or add --insecure to accept that anyone on the network can read along"
        ))),
        _ => Ok(listeners),
    }
}

/// Returns true if other machines can reach the address.
fn is_open(address: SocketAddr) -> bool {
    !address.ip().to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Option<SocketAddr> {
        Some(text.parse().expect("an address"))
    }

    fn planned(wanted: Wanted) -> Result<Listeners, String> {
        plan(wanted).map_err(|failure| failure.to_string())
    }

    #[test]
    fn without_options_there_is_one_port_with_tls() {
        let listeners = planned(Wanted::default()).expect("a plan");
        assert_eq!(
            (listeners.secure, listeners.http, listeners.mqtt),
            (at("0.0.0.0:8443"), None, None)
        );
        assert!(!listeners.are_open());
    }

    #[test]
    fn plain_ports_of_this_machine_stay_possible() {
        let wanted = Wanted {
            http: at("127.0.0.1:8080"),
            ..Wanted::default()
        };
        let listeners = planned(wanted).expect("a plan");
        assert_eq!(
            (listeners.secure, listeners.http, listeners.mqtt),
            (None, wanted.http, at("127.0.0.1:1883"))
        );
        let both = Wanted {
            listen: at("[::]:443"),
            ..wanted
        };
        let listeners = planned(both).expect("a plan");
        assert_eq!(
            (listeners.secure, listeners.http, listeners.mqtt),
            (at("[::]:443"), wanted.http, None)
        );
    }

    #[test]
    fn a_certificate_turns_http_into_https() {
        let wanted = Wanted {
            http: at("0.0.0.0:443"),
            certificate: true,
            ..Wanted::default()
        };
        let listeners = planned(wanted).expect("a plan");
        assert_eq!((listeners.secure, listeners.http), (wanted.http, None));
    }

    #[test]
    fn nothing_plain_is_offered_to_other_machines_unasked() {
        for (http, mqtt, named) in [
            (at("0.0.0.0:8080"), None, "--http 0.0.0.0:8080"),
            (at("127.0.0.1:8080"), at("[::]:1883"), "--mqtt [::]:1883"),
            (at("192.168.0.7:80"), None, "--listen 192.168.0.7:80"),
        ] {
            let wanted = Wanted {
                http,
                mqtt,
                ..Wanted::default()
            };
            let error = planned(wanted).expect_err("it is open");
            assert!(error.contains(named), "{error}");
            let insecure = Wanted {
                insecure: true,
                ..wanted
            };
            assert!(planned(insecure).expect("accepted").are_open());
        }
        let mapped = Wanted {
            http: at("[::ffff:127.0.0.1]:8080"),
            ..Wanted::default()
        };
        assert!(!planned(mapped).expect("a plan").are_open());
    }
}
