//! Parses the PROXY protocol, versions 1 and 2: the line or block before a connection's protocol that names
//! its client. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const V1: &[u8] = b"PROXY ";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Maximum length of a line of version 1 by its specification, in bytes.
const MAX_V1: usize = 107;
/// Maximum length of a block of version 2 that is accepted, in bytes: addresses and some extensions.
pub(super) const MAX_HEADER: usize = 1024;
const V2_FIXED: usize = 16;

/// Result of parsing the first bytes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProxyHeader {
    /// More bytes are needed to decide.
    Incomplete,
    /// Not a PROXY header.
    None,
    /// Header of `len` bytes; without a client when the proxy speaks for itself.
    Header { len: usize, client: Option<SocketAddr> },
    /// Invalid header.
    Invalid,
}

/// Parses the first bytes of a connection.
pub(super) fn read(bytes: &[u8]) -> ProxyHeader {
    let begins = |with: &[u8]| bytes.iter().zip(with).all(|(a, b)| a == b);
    if begins(V1) {
        if bytes.len() < V1.len() {
            ProxyHeader::Incomplete
        } else {
            version_1(bytes)
        }
    } else if begins(V2) {
        if bytes.len() < V2_FIXED {
            ProxyHeader::Incomplete
        } else {
            version_2(bytes)
        }
    } else {
        ProxyHeader::None
    }
}

fn version_1(bytes: &[u8]) -> ProxyHeader {
    let Some(end) = bytes.iter().take(MAX_V1).position(|byte| *byte == b'\n') else {
        return if bytes.len() < MAX_V1 {
            ProxyHeader::Incomplete
        } else {
            ProxyHeader::Invalid
        };
    };
    let line = bytes[..end]
        .strip_suffix(b"\r")
        .and_then(|line| std::str::from_utf8(line).ok());
    let Some(line) = line else {
        return ProxyHeader::Invalid;
    };
    let len = end + 1;
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["PROXY", "UNKNOWN", ..] => ProxyHeader::Header { len, client: None },
        [
            "PROXY",
            family @ ("TCP4" | "TCP6"),
            source,
            target,
            source_port,
            target_port,
        ] => {
            let is_of_family = |address: &IpAddr| address.is_ipv4() == (family == "TCP4");
            let address = |text: &str| text.parse::<IpAddr>().ok().filter(is_of_family);
            let port = |text: &str| text.parse::<u16>().ok();
            match (
                address(source),
                address(target),
                port(source_port),
                port(target_port),
            ) {
                (Some(source), Some(_), Some(port), Some(_)) => ProxyHeader::Header {
                    len,
                    client: Some(SocketAddr::new(source, port)),
                },
                _ => ProxyHeader::Invalid,
            }
        }
        _ => ProxyHeader::Invalid,
    }
}

fn version_2(bytes: &[u8]) -> ProxyHeader {
    let (command, family) = (bytes[12], bytes[13]);
    let size = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    let len = V2_FIXED + size;
    if command >> 4 != 2 || len > MAX_HEADER {
        return ProxyHeader::Invalid;
    }
    if bytes.len() < len {
        return ProxyHeader::Incomplete;
    }
    let block = &bytes[V2_FIXED..len];
    match (command & 0x0f, family) {
        (0, _) => ProxyHeader::Header { len, client: None },
        (1, 0x11) => client::<4>(block).map_or(ProxyHeader::Invalid, |(source, port)| {
            named(len, Ipv4Addr::from(source).into(), port)
        }),
        (1, 0x21) => client::<16>(block).map_or(ProxyHeader::Invalid, |(source, port)| {
            named(len, Ipv6Addr::from(source).into(), port)
        }),
        // Other kinds of sockets have no address that could be counted.
        (1, _) => ProxyHeader::Header { len, client: None },
        _ => ProxyHeader::Invalid,
    }
}

const fn named(len: usize, source: IpAddr, port: u16) -> ProxyHeader {
    ProxyHeader::Header {
        len,
        client: Some(SocketAddr::new(source, port)),
    }
}

/// Parses source, target and the two ports; returns the source with its port.
fn client<const N: usize>(block: &[u8]) -> Option<([u8; N], u16)> {
    let source = block.first_chunk::<N>()?;
    let ports = block.get(2 * N..2 * N + 4)?;
    Some((*source, u16::from_be_bytes([ports[0], ports[1]])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let size = u16::try_from(body.len()).expect("short").to_be_bytes();
        [V2, &[command, family], &size, body].concat()
    }

    fn client(text: &str) -> Option<SocketAddr> {
        Some(text.parse().expect("an address"))
    }

    #[test]
    fn version_1_names_the_client() {
        let line = b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 1883\r\n\x10rest";
        assert_eq!(
            read(line),
            ProxyHeader::Header {
                len: line.len() - 5,
                client: client("192.0.2.1:4711")
            }
        );
        let line = b"PROXY TCP6 2001:db8::1 ::1 4711 1883\r\n";
        assert_eq!(
            read(line),
            ProxyHeader::Header {
                len: line.len(),
                client: client("[2001:db8::1]:4711")
            }
        );
        assert_eq!(
            read(b"PROXY UNKNOWN\r\n"),
            ProxyHeader::Header {
                len: 15,
                client: None
            }
        );
        assert_eq!(
            read(b"PROXY UNKNOWN ff ff 1 1\r\n"),
            ProxyHeader::Header {
                len: 25,
                client: None
            }
        );
    }

    #[test]
    fn version_2_names_the_client() {
        let v4 = [
            &[192, 0, 2, 1][..],
            &[10, 0, 0, 1],
            &4711u16.to_be_bytes(),
            &1883u16.to_be_bytes(),
        ]
        .concat();
        let header = block(0x21, 0x11, &v4);
        assert_eq!(
            read(&header),
            ProxyHeader::Header {
                len: 28,
                client: client("192.0.2.1:4711")
            }
        );
        let extended = block(0x21, 0x11, &[&v4[..], &[3, 0, 1, 0]].concat());
        assert_eq!(
            read(&extended),
            ProxyHeader::Header {
                len: 32,
                client: client("192.0.2.1:4711")
            }
        );
        let mut v6 = [0; 36];
        v6[15] = 9;
        v6[32..34].copy_from_slice(&7u16.to_be_bytes());
        assert_eq!(
            read(&block(0x21, 0x21, &v6)),
            ProxyHeader::Header {
                len: 52,
                client: client("[::9]:7")
            }
        );
        assert_eq!(
            read(&block(0x20, 0, &[])),
            ProxyHeader::Header {
                len: 16,
                client: None
            },
            "the proxy itself asks"
        );
        assert_eq!(
            read(&block(0x21, 0x31, &[0; 216])),
            ProxyHeader::Header {
                len: 232,
                client: None
            },
            "a unix socket"
        );
    }

    #[test]
    fn every_cut_is_unclear_and_nothing_else_is_a_header() {
        let v1 = b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 1883\r\n".to_vec();
        let v2 = block(0x21, 0x11, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        for whole in [v1, v2] {
            for cut in 0..whole.len() {
                assert_eq!(read(&whole[..cut]), ProxyHeader::Incomplete, "{cut}");
            }
        }
        for other in [
            &b"\x10\x20\0\x04MQTT"[..],
            b"GET / HTTP/1.1\r\n",
            b"PUT / HTTP/1.1\r\n",
            b"\x16\x03\x01",
            b"PROXIES",
            b"\r\nG",
        ] {
            assert_eq!(read(other), ProxyHeader::None, "{other:?}");
        }
    }

    #[test]
    fn bad_headers_are_refused() {
        for bad in [
            &b"PROXY TCP4 192.0.2.1 10.0.0.1 4711\r\n"[..],
            b"PROXY TCP4 2001:db8::1 ::1 4711 1883\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 99999 1883\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 1883\n",
            b"PROXY SCTP 192.0.2.1 10.0.0.1 4711 1883\r\n",
            b"PROXY \xff\xff\r\n",
            &[b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat(),
            &block(0x31, 0x11, &[0; 12]),
            &block(0x22, 0x11, &[0; 12]),
            &block(0x21, 0x11, &[0; 11]),
            &block(0x21, 0x21, &[0; 35]),
            &block(0x21, 0x11, &[0; MAX_HEADER]),
        ] {
            assert_eq!(read(bad), ProxyHeader::Invalid, "{bad:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300), v2 in proptest::bool::ANY) {
            let bytes = if v2 { [V2, &bytes].concat() } else { [V1, &bytes].concat() };
            if let ProxyHeader::Header { len, .. } = read(&bytes) {
                proptest::prop_assert!(len <= bytes.len());
            }
        }
    }
}
