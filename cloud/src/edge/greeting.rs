//! What may stand in front of a connection before its protocol begins.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::address::Trusted;
use super::proxy::{self, Front};

/// Shortest and longest pause between two looks at bytes of which too few are there.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// A look at the first bytes of a connection.
pub enum Peek<T> {
    /// More bytes are needed.
    More,
    /// The outcome.
    Done(T),
}

/// Looks at the first bytes of a connection, at most `room`, without taking them, until `look` is satisfied.
/// Ends with an error when the connection ends first. The caller sets the time limit.
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
                "the first bytes have no end",
            ));
        }
        // A look returns at once while bytes are there: only time tells whether more have come.
        tokio::time::sleep(pause).await;
        pause = if there == known {
            (pause * 2).min(PAUSE.1)
        } else {
            PAUSE.0
        };
        known = there;
    }
}

/// Returns the client's address: the peer's, or, when the peer is a trusted proxy and says so in a PROXY
/// header, the one in it. The header is taken from the stream. From anyone else such a header is what it
/// looks like: no MQTT and no HTTP.
pub async fn greet(stream: &mut TcpStream, peer: SocketAddr, trusted: &Trusted) -> io::Result<SocketAddr> {
    if !trusted.contains(peer.ip()) {
        return Ok(peer);
    }
    let look = |bytes: &[u8]| match proxy::read(bytes) {
        Front::Unclear => Peek::More,
        found => Peek::Done(found),
    };
    match peek_until(stream, proxy::MAX_HEADER, look).await? {
        Front::Header { len, client } => {
            let mut header = [0; proxy::MAX_HEADER];
            stream.read_exact(&mut header[..len]).await?;
            Ok(client.unwrap_or(peer))
        }
        Front::Bad => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the proxy's header is not as it should be",
        )),
        Front::None | Front::Unclear => Ok(peer),
    }
}
