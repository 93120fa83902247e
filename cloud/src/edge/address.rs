//! Addresses of clients: the key under which they are counted, and the proxies that may name them.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::HeaderMap;
use ipnet::IpNet;

/// Unit that counts as one address: an IPv4 address, or an IPv6 network of 64 bits, the usual network of a
/// subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressKey(IpAddr);

impl AddressKey {
    /// Returns the unit that `address` belongs to. An IPv4 address that is mapped into IPv6 counts as IPv4.
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
            v4 @ IpAddr::V4(_) => v4,
        })
    }

    /// Returns true for an address that is used inside of networks only.
    pub(crate) fn is_private(self) -> bool {
        match self.0.to_canonical() {
            IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
        }
    }
}

/// Networks of trusted proxies.
#[derive(Debug, Clone, Default)]
pub struct Trusted(Vec<IpNet>);

impl Trusted {
    /// Creates the list of the networks whose addresses are trusted.
    pub fn new(networks: &[IpNet]) -> Self {
        Self(networks.to_vec())
    }

    /// Returns true if `address` is a trusted proxy.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Returns the key under which a connection of `address` is counted; `None` for a trusted proxy, which
    /// stands for many clients.
    pub fn key(&self, address: IpAddr) -> Option<AddressKey> {
        (!self.contains(address)).then(|| AddressKey::of(address))
    }
}

/// Returns the client that the headers name: the last address in `X-Forwarded-For` or `Forwarded` that is not
/// a trusted proxy. Earlier ones may be invented by the client. Only for requests of a trusted proxy.
pub fn forwarded_for(headers: &HeaderMap, trusted: &Trusted) -> Option<IpAddr> {
    let lists = |name: &'static str| {
        headers
            .get_all(name)
            .iter()
            .rev()
            .filter_map(|value| value.to_str().ok())
    };
    let plain = lists("x-forwarded-for")
        .flat_map(|list| list.rsplit(','))
        .map(address);
    let tagged = lists("forwarded")
        .flat_map(|list| list.rsplit(','))
        .filter_map(|element| {
            let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
            pairs
                .find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))
                .map(|(_, value)| address(value))
        });
    if headers.contains_key("x-forwarded-for") {
        outermost(plain, trusted)
    } else {
        outermost(tagged, trusted)
    }
}

/// Returns the first address that is not a trusted proxy. An invalid address ends the search, because the
/// addresses before it cannot be trusted.
fn outermost(mut addresses: impl Iterator<Item = Option<IpAddr>>, trusted: &Trusted) -> Option<IpAddr> {
    addresses
        .find(|found| !found.is_some_and(|address| trusted.contains(address)))
        .flatten()
}

/// Parses `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]:80`, with or without quotes.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let plain = text
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
        .map_or(text, |(inside, _)| inside);
    plain
        .parse()
        .ok()
        .or_else(|| plain.rsplit_once(':')?.0.parse().ok())
        .map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn trusted() -> Trusted {
        Trusted::new(&[
            "10.0.0.0/8".parse().expect("a network"),
            "fd00::/8".parse().expect("a network"),
        ])
    }

    fn client(headers: &[(&'static str, &'static str)]) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        forwarded_for(&map, &trusted()).map(|address| address.to_string())
    }

    #[test]
    fn the_last_address_that_is_no_proxy_counts() {
        assert_eq!(
            client(&[("x-forwarded-for", "192.0.2.1")]).as_deref(),
            Some("192.0.2.1")
        );
        assert_eq!(
            client(&[("x-forwarded-for", "1.1.1.1, 192.0.2.1, 10.1.2.3")]).as_deref(),
            Some("192.0.2.1")
        );
        assert_eq!(
            client(&[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "192.0.2.1")]).as_deref(),
            Some("192.0.2.1")
        );
        assert_eq!(
            client(&[("x-forwarded-for", "192.0.2.1:4711")]).as_deref(),
            Some("192.0.2.1")
        );
        assert_eq!(
            client(&[("x-forwarded-for", "::ffff:192.0.2.1")]).as_deref(),
            Some("192.0.2.1")
        );
        let tagged = r#"for=1.1.1.1, for="[2001:db8::1]:80";proto=https, for=10.0.0.1"#;
        assert_eq!(client(&[("forwarded", tagged)]).as_deref(), Some("2001:db8::1"));
        for nothing in ["", "unknown", "1.1.1.1, unknown, 10.0.0.1", "10.0.0.1", ",,,"] {
            assert_eq!(client(&[("x-forwarded-for", nothing)]), None, "{nothing}");
        }
        assert_eq!(client(&[]), None);
    }

    #[test]
    fn a_subscriber_of_ipv6_is_one_address() {
        let key = |text: &str| AddressKey::of(text.parse().expect("an address"));
        assert_eq!(key("2001:db8:0:1::1"), key("2001:db8:0:1:ffff::2"));
        assert_ne!(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.2"), key("192.0.2.1"));
        assert_eq!(trusted().key("10.9.9.9".parse().expect("an address")), None);
        assert_eq!(
            trusted().key("::ffff:10.9.9.9".parse().expect("an address")),
            None
        );
    }
}
