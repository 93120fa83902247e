//! Tunnel through an HTTP proxy (CONNECT, RFC 9110, section 9.3.6).

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::config::ProxyAddress;

/// Maximum size of the proxy's answer, in bytes.
const MAX_ANSWER: usize = 8 << 10;
/// End of the answer's head; the bytes of the tunnel follow.
const END: &[u8] = b"\r\n\r\n";

/// Reason why a proxy opened no tunnel.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TunnelError {
    #[error("the proxy wants a user and a password (status 407); set them in `proxy` or HTTPS_PROXY")]
    Credentials,
    #[error("the proxy refused the tunnel with status {0}")]
    Refused(u16),
    #[error("the proxy's answer is not HTTP")]
    Malformed,
    #[error("failed to ask the proxy for a tunnel: {0}")]
    Io(#[from] io::Error),
}

/// Asks the proxy at the other end of `stream` for a tunnel to `authority` (`host:port`). Returns the stream, which then
/// leads there. The caller sets the time limit.
///
/// # Errors
/// See [`TunnelError`].
pub(super) async fn through(
    mut stream: TcpStream,
    proxy: &ProxyAddress,
    authority: &str,
) -> Result<TcpStream, TunnelError> {
    stream.write_all(request(proxy, authority).as_bytes()).await?;
    let mut head = Vec::new();
    // One byte at a time: what follows the head is the tunnel's.
    while !head.ends_with(END) {
        if head.len() == MAX_ANSWER {
            return Err(TunnelError::Malformed);
        }
        head.push(stream.read_u8().await?);
    }
    match status(&head) {
        Some(200..=299) => Ok(stream),
        Some(407) => Err(TunnelError::Credentials),
        Some(other) => Err(TunnelError::Refused(other)),
        None => Err(TunnelError::Malformed),
    }
}

fn request(proxy: &ProxyAddress, authority: &str) -> String {
    let credentials = proxy.credentials.as_ref().map(|(user, password)| {
        let pair = STANDARD.encode(format!("{user}:{}", password.expose()));
        format!("Proxy-Authorization: Basic {pair}\r\n")
    });
    let credentials = credentials.unwrap_or_default();
    format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{credentials}\r\n")
}

/// Returns the status of an answer; `None` if it is not one of HTTP/1.
fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    let status = words.next().filter(|status| status.len() == 3)?;
    status.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_carries_the_credentials() {
        let proxy = |text: &str| ProxyAddress::try_from(text.to_owned()).expect("a proxy");
        assert_eq!(
            request(&proxy("http://p.example:3128"), "cloud.example:8443"),
            "CONNECT cloud.example:8443 HTTP/1.1\r\nHost: cloud.example:8443\r\n\r\n"
        );
        assert!(
            request(&proxy("http://Aladdin:open sesame@p.example:3128"), "[::1]:1")
                .contains("\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n")
        );
    }

    #[test]
    fn answers_have_a_status() {
        assert_eq!(status(b"HTTP/1.1 200 Connection established\r\n\r\n"), Some(200));
        assert_eq!(status(b"HTTP/1.0 407 Authenticate\r\nX: y\r\n\r\n"), Some(407));
        for bad in [
            &b"SSH-2.0-x\r\n\r\n"[..],
            b"\r\n\r\n",
            b"HTTP/1.1 2000 x\r\n\r\n",
            b"\xff\r\n\r\n",
        ] {
            assert_eq!(status(bad), None, "{bad:?}");
        }
    }
}
