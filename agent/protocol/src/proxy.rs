//! Rule for HTTP requests: which ones may use the proxy that the environment names. Pure.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Returns true if a request to `url` goes straight to its server, whatever proxy the environment names:
/// servers on this machine, which no proxy can reach, and plain `http:`, for which proxies rarely allow the
/// tunnels that the HTTP clients request.
#[must_use]
pub fn is_direct(url: &str) -> bool {
    match scheme_and_host(url) {
        Some((scheme, host)) => !scheme.eq_ignore_ascii_case("https") || is_loopback(host),
        None => true,
    }
}

/// Returns the scheme and the host of a URL, without user, port and brackets; `None` for a text without a scheme.
#[must_use]
pub fn scheme_and_host(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.trim().split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        Some((address, _)) => address,
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    Some((scheme, host))
}

/// Returns true if a host's name or address is this machine.
fn is_loopback(host: &str) -> bool {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name
            .parse::<Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback())
        || name.parse::<Ipv6Addr>().is_ok_and(|address| {
            address.is_loopback()
                || address
                    .to_ipv4_mapped()
                    .is_some_and(|address| address.is_loopback())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_and_plain_http_need_no_proxy() {
        for url in [
            "http://127.0.0.1:8080",
            "http://cloud.example",
            "HTTP://cloud.example/repo",
            "https://localhost:8443/repo",
            "https://LOCALHOST",
            "https://a.localhost./x",
            "https://127.8.9.10",
            "https://[::1]:8443/x",
            "https://[::ffff:127.0.0.1]",
            "https://user@127.0.0.1/x",
            "/a/folder",
        ] {
            assert!(is_direct(url), "{url}");
        }
        for url in [
            "https://cloud.example",
            "https://127.0.0.1.example",
            "https://localhost@cloud.example",
            "https://[2001:db8::1]",
        ] {
            assert!(!is_direct(url), "{url}");
        }
    }
}
