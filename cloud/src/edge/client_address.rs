//! Reads the PROXY header that may precede the protocol of a connection.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::address::Trusted;
use super::proxy::{self, ProxyHeader};

/// Minimum and maximum pause between two looks at the bytes when too few have arrived.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// Result of a look at the first bytes of a connection.
pub enum Peek<T> {
    /// More bytes are needed.
    More,
    /// Outcome of the look.
    Done(T),
}

/// Peeks at the first bytes of a connection, at most `room`, without consuming them, until `look` returns an
/// outcome. Fails when the connection ends first. The caller sets the time limit.
pub async fn peek_until<T>(
    stream: &TcpStream,
    room: usize,
    look: impl Fn(&[u8]) -> Peek<T>,
) -> io::Result<T> {
    let (mut buffer, mut known, mut pause) = (vec![0; room], 0, PAUSE.0);
    loop {
        let there = stream.peek(&mut buffer).await?;
        if there == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if there != known
            && let Peek::Done(outcome) = look(&buffer[..there])
        {
            return Ok(outcome);
        }
        if there == room {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the header exceeds its maximum size",
            ));
        }
        // Peeking returns at once while bytes are there, so only waiting shows whether more arrive.
        tokio::time::sleep(pause).await;
        pause = if there == known {
            (pause * 2).min(PAUSE.1)
        } else {
            PAUSE.0
        };
        known = there;
    }
}

/// Returns the client's address: the peer's, or the one in the PROXY header of a trusted proxy. The header is
/// consumed from the stream. Of other peers such a header is not read, and their connection fails, because it
/// is neither MQTT nor HTTP.
pub async fn read_client_address(
    stream: &mut TcpStream,
    peer: SocketAddr,
    trusted: &Trusted,
) -> io::Result<SocketAddr> {
    if !trusted.contains(peer.ip()) {
        return Ok(peer);
    }
    let look = |bytes: &[u8]| match proxy::read(bytes) {
        ProxyHeader::Incomplete => Peek::More,
        found => Peek::Done(found),
    };
    match peek_until(stream, proxy::MAX_HEADER, look).await? {
        ProxyHeader::Header { len, client } => {
            let mut header = [0; proxy::MAX_HEADER];
            stream.read_exact(&mut header[..len]).await?;
            Ok(client.unwrap_or(peer))
        }
        ProxyHeader::Invalid => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the PROXY header is invalid",
        )),
        ProxyHeader::None | ProxyHeader::Incomplete => Ok(peer),
    }
}
