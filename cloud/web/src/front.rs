//! Address under which boards reach the cloud, as enrolment URLs carry it.

use axum::http::HeaderMap;
use iottly_protocol::enroll::{EnrollUrl, Fingerprint, PairCode};

/// TLS listener of the cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Front {
    /// Port of the listener.
    pub port: u16,
    /// sha256 of the certificate that devices pin; none if they check the certificate against the authorities of the web.
    pub fingerprint: Option<Fingerprint>,
}

/// Returns the enrolment URL for a code: the host is the one under which the caller reaches the cloud. Without a TLS
/// listener, or with a host that no URL can have, there is none.
pub(crate) fn enrol_url(
    front: Option<Front>,
    https: bool,
    headers: &HeaderMap,
    code: PairCode,
) -> Option<String> {
    let host = headers.get("host")?.to_str().ok()?;
    let (host, port) = split(host)?;
    let (port, fingerprint) = match front {
        // The caller's own port is right, also where a router maps it.
        Some(front) if https => (port.unwrap_or(443), front.fingerprint),
        Some(front) => (front.port, front.fingerprint),
        // A proxy in front of the cloud has the certificate.
        None if https => (port.unwrap_or(443), None),
        None => return None,
    };
    EnrollUrl::new(host, port, code, fingerprint)
        .ok()
        .map(|url| url.to_string())
}

/// Splits a `Host` header; IPv6 addresses lose their brackets.
fn split(host: &str) -> Option<(&str, Option<u16>)> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (name, rest) = rest.split_once(']')?;
            (name, rest.strip_prefix(':'))
        }
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        },
    };
    match port {
        Some(port) => Some((name, Some(port.parse().ok()?))),
        None => Some((name, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_the_host_of_the_caller_and_the_port_of_tls() {
        let front = Front {
            port: 8443,
            fingerprint: Some(Fingerprint([0xab; 32])),
        };
        let code = PairCode::from_bytes([0; 16]);
        let url = |front, https, host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("host", host.parse().expect("a value"));
            enrol_url(front, https, &headers, code)
        };
        let (zeros, print) = ("0".repeat(32), "ab".repeat(32));
        for (front, https, host, wanted) in [
            (
                Some(front),
                true,
                "cloud.example:9443",
                format!("cloud.example:9443/{zeros}#{print}"),
            ),
            (
                Some(front),
                true,
                "cloud.example",
                format!("cloud.example/{zeros}#{print}"),
            ),
            (
                Some(front),
                false,
                "127.0.0.1:8080",
                format!("127.0.0.1:8443/{zeros}#{print}"),
            ),
            (
                Some(front),
                false,
                "[::1]:8080",
                format!("[::1]:8443/{zeros}#{print}"),
            ),
            (None, true, "cloud.example", format!("cloud.example/{zeros}")),
        ] {
            assert_eq!(
                url(front, https, host),
                Some(format!("iottly://{wanted}")),
                "{host}"
            );
        }
        assert_eq!(url(None, false, "cloud.example"), None);
        for bad in ["", "a b", "h:x", "[::1", "user@h"] {
            assert_eq!(url(Some(front), true, bad), None, "{bad}");
        }
    }
}
