//! Hands a connection that the agent has opened itself to the MQTT client.
//!
//! The client takes no stream from outside; it connects by itself, to a Unix socket among others. So it connects to one
//! of this process, in the system's namespace of names without files, and its bytes are carried on from there.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener};

use iottly_protocol::ConnId;
use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};

use super::route::Channel;
use super::websocket;

/// Listener for one connection of this process.
pub(super) struct Bridge(UnixListener);

impl Bridge {
    /// Returns the name for a connection.
    pub(super) fn name(conn: ConnId) -> String {
        format!("iottly-agent-{conn}")
    }

    /// Returns the path under which the client finds the listener: names without files begin with a zero byte.
    pub(super) fn path(name: &str) -> String {
        format!("\0{name}")
    }

    /// Opens the listener.
    pub(super) fn open(name: &str) -> io::Result<Self> {
        let listener = StdListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
        listener.set_nonblocking(true)?;
        Ok(Self(UnixListener::from_std(listener)?))
    }

    /// Carries the client's bytes to a channel and back until one of them ends.
    pub(super) async fn carry(self, channel: Channel) -> io::Result<()> {
        let mut near = self.accept().await?;
        match channel {
            Channel::Tls(mut far) => copy_bidirectional(&mut near, &mut far).await.map(drop),
            Channel::WebSocket(far) => websocket::carry(&mut near, *far).await,
        }
    }

    /// Accepts the client. Other processes that try the name are turned away.
    async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            let (stream, _) = self.0.accept().await?;
            let pid = stream.peer_cred()?.pid();
            if pid.and_then(|pid| u32::try_from(pid).ok()) == Some(std::process::id()) {
                return Ok(stream);
            }
        }
    }
}
