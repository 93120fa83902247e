//! Rules about the addresses that webhook requests may go to: none in the cloud's own network, unless the
//! operator allows it. Resolves no names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use url::Url;

/// Maximum length of a webhook's URL, in bytes.
pub const MAX_URL_BYTES: usize = 2048;

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(first: u16, second: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0), prefix)
}

/// Networks that are not part of the public internet.
const BLOCKED_V4: [Ipv4Net; 15] = [
    v4(0, 0, 0, 0, 8),
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10),
    v4(127, 0, 0, 0, 8),
    v4(169, 254, 0, 0, 16),
    v4(172, 16, 0, 0, 12),
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),
    v4(192, 88, 99, 0, 24),
    v4(192, 168, 0, 0, 16),
    v4(198, 18, 0, 0, 15),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    v4(224, 0, 0, 0, 4),
    v4(240, 0, 0, 0, 4),
];
/// Only 2000::/3 of IPv6 is public at all; blocked within it are networks that carry IPv4 addresses or are
/// for documentation.
const PUBLIC_V6: Ipv6Net = v6(0x2000, 0, 3);
const BLOCKED_V6: [Ipv6Net; 4] = [
    v6(0x2001, 0, 23),
    v6(0x2001, 0xdb8, 32),
    v6(0x2002, 0, 16),
    v6(0x3fff, 0, 20),
];

/// Reason for which a request is not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Blocked {
    /// The text is not a URL.
    #[error("url is not valid: {0}")]
    Url(String),
    /// The scheme is neither http nor https, or it is http where only https is allowed.
    #[error("scheme {0:?} is not allowed")]
    Scheme(String),
    /// The URL contains a user or a password.
    #[error("url contains a user or a password")]
    Credentials,
    /// The port is below 1024 and not 80 or 443.
    #[error("port {0} is not allowed")]
    Port(u16),
    /// The address is not on the public internet.
    #[error("address {0} is not allowed")]
    Address(IpAddr),
    /// None of the name's addresses is allowed.
    #[error("name {0:?} has no allowed address")]
    Name(String),
}

/// Rules about the addresses of receivers.
#[derive(Debug, Clone)]
pub struct Guard {
    allow: Vec<IpNet>,
    https_only: bool,
}

impl Guard {
    /// Allows the public internet and the networks in `allow`; with `https_only`, `http:` URLs are refused.
    #[must_use]
    pub fn new(allow: Vec<IpNet>, https_only: bool) -> Self {
        Self { allow, https_only }
    }

    /// Returns true if connections to an address are allowed.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.allow.iter().any(|net| net.contains(&address)) || is_public(address)
    }

    /// Parses and checks a webhook's URL. A name in it is checked when it is resolved, at each connection.
    ///
    /// # Errors
    /// When requests to the URL are not allowed.
    pub fn check(&self, url: &str) -> Result<Url, Blocked> {
        if url.len() > MAX_URL_BYTES {
            return Err(Blocked::Url(format!("it is longer than {MAX_URL_BYTES} bytes")));
        }
        let url = Url::parse(url).map_err(|error| Blocked::Url(error.to_string()))?;
        match url.scheme() {
            "https" => {}
            "http" if !self.https_only => {}
            other => return Err(Blocked::Scheme(other.to_owned())),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Blocked::Credentials);
        }
        let port = url.port_or_known_default().unwrap_or_default();
        if !matches!(port, 80 | 443 | 1024..) {
            return Err(Blocked::Port(port));
        }
        // The parser has already normalised every spelling of an address.
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        match host.parse::<IpAddr>() {
            Ok(address) if !self.allows(address) => Err(Blocked::Address(address)),
            Err(_) if url.domain().is_none_or(str::is_empty) => {
                Err(Blocked::Url("it has no host".to_owned()))
            }
            _ => Ok(url),
        }
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !BLOCKED_V4.iter().any(|net| net.contains(&address)),
        IpAddr::V6(address) => {
            PUBLIC_V6.contains(&address) && !BLOCKED_V6.iter().any(|net| net.contains(&address))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        Guard::new(Vec::new(), false)
    }

    #[test]
    fn every_blocked_range_at_its_edges() {
        for blocked in [
            "0.0.0.0",
            "0.255.255.255",
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.0.1",
            "169.254.169.254",
            "172.16.0.0",
            "172.31.255.255",
            "192.0.0.1",
            "192.168.0.1",
            "192.168.255.255",
            "198.18.0.0",
            "198.19.255.255",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "192.88.99.1",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "fc00::1",
            "fdff::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "64:ff9b::7f00:1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2001:db8::1",
            "2001::1",
            "100::1",
            "5f00::1",
        ] {
            assert!(!guard().allows(blocked.parse().expect("an address")), "{blocked}");
        }
        for public in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "::ffff:1.1.1.1",
            "2606:4700::1111",
            "2a00:1450:4001::1",
        ] {
            assert!(guard().allows(public.parse().expect("an address")), "{public}");
        }
    }

    #[test]
    fn literal_hosts_in_every_spelling() {
        for host in [
            "127.0.0.1",
            "127.1",
            "0x7f000001",
            "0x7f.1",
            "2130706433",
            "017700000001",
            "0177.0.0.1",
            "127.0.0.1.",
            "①②⑦.0.0.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[0:0:0:0:0:0:0:1]",
            "[::]",
            "0",
            "0.0.0.0",
            "169.254.169.254",
            "0xa9fea9fe",
            "[fe80::1]",
            "[64:ff9b::127.0.0.1]",
            "%31%32%37.0.0.1",
        ] {
            let blocked = guard().check(&format!("http://{host}:8080/x"));
            assert!(matches!(blocked, Err(Blocked::Address(_))), "{host}: {blocked:?}");
        }
        for url in [
            "http://1.1.1.1/",
            "https://example.com/hook?a=b",
            "http://example.com:9000/webhook/user",
            "http://[2606:4700::1111]/",
        ] {
            assert!(guard().check(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn schemes_ports_and_credentials() {
        let check = |url: &str| guard().check(url).expect_err("blocked");
        assert_eq!(check("ftp://example.com/"), Blocked::Scheme("ftp".into()));
        assert_eq!(check("file:///etc/passwd"), Blocked::Scheme("file".into()));
        assert_eq!(check("gopher://example.com/"), Blocked::Scheme("gopher".into()));
        assert_eq!(check("http://user@example.com/"), Blocked::Credentials);
        assert_eq!(check("http://:p@example.com/"), Blocked::Credentials);
        assert_eq!(check("http://example.com:22/"), Blocked::Port(22));
        assert_eq!(check("http://example.com:1023/"), Blocked::Port(1023));
        assert!(matches!(check("example.com"), Blocked::Url(_)));
        assert!(matches!(check("http://"), Blocked::Url(_)));
        assert!(matches!(
            check(&format!("http://example.com/{}", "x".repeat(MAX_URL_BYTES))),
            Blocked::Url(_)
        ));
        let strict = Guard::new(Vec::new(), true);
        assert_eq!(
            strict.check("http://example.com/"),
            Err(Blocked::Scheme("http".into()))
        );
        assert!(strict.check("https://example.com/").is_ok());
    }

    #[test]
    fn an_operator_allows_networks() {
        let guard = Guard::new(vec!["127.0.0.0/8".parse().expect("a network")], false);
        assert!(guard.check("http://127.0.0.1:9000/").is_ok());
        assert!(
            guard.check("http://[::ffff:127.0.0.1]:9000/").is_ok(),
            "the mapped form is the same address"
        );
        assert!(guard.check("http://10.0.0.1/").is_err());
    }
}
