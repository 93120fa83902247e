//! Options of a socket by which the system ends the connection of a client that has gone silent: a machine without
//! power or network ends nothing itself, and a stream of events would keep its place until TCP abandons it, which
//! takes a quarter of an hour.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use iottly_cloud::edge::Prefixed;

/// Maximum time for which a client of an event stream acknowledges nothing. A client that reads nothing for that long
/// is ended too, once its own buffer is full.
const SILENCE: Duration = Duration::from_secs(10);
/// Interval at which a client that was sent nothing is asked whether it is there.
const PROBE: Duration = Duration::from_secs(5);

/// Stream with a TCP socket under it.
pub(super) trait Socket {
    /// Returns the socket.
    fn socket(&self) -> &TcpStream;
}

impl<S: Socket> Socket for Prefixed<S> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().socket()
    }
}

/// Sets whether the system ends the connection when its client goes silent: within 20 s of a cut, because what waits
/// for an acknowledgement and what is asked between two events have a limit each.
pub(super) fn set_end_of_silence(socket: &TcpStream, wanted: bool) {
    if let Err(error) = try_set(&SockRef::from(socket), wanted) {
        tracing::debug!(%error, "failed to limit the silence of a client; a cut connection keeps its place until TCP ends it");
    }
}

fn try_set(socket: &SockRef<'_>, wanted: bool) -> io::Result<()> {
    if wanted {
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(PROBE).with_interval(PROBE))?;
    }
    socket.set_keepalive(wanted)?;
    socket.set_tcp_user_timeout(wanted.then_some(SILENCE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn the_limit_is_set_and_taken_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let _far = TcpStream::connect(address).await.expect("connected");
        let (near, _) = listener.accept().await.expect("accepted");
        for (wanted, limit) in [(true, Some(SILENCE)), (false, None)] {
            set_end_of_silence(&near, wanted);
            let socket = SockRef::from(&near);
            assert_eq!(socket.tcp_user_timeout().expect("an option"), limit);
            assert_eq!(socket.keepalive().expect("an option"), wanted);
        }
    }
}
