//! Entrance for connections that another listener has accepted: over TLS, or inside of HTTP as a WebSocket.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use mqtt5::broker::transport::WebSocketTransport;
use mqtt5::broker::websocket_server::WebSocketStreamWrapper;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::PACKET_OVERHEAD;
use super::first::{self, First};
use super::gate::{CONNECT_WITHIN, Gate};
use super::seat::Seat;
use crate::edge::{AddressKey, Prefixed};
use iottly_protocol::limits::MAX_PUBLISH_BYTES;

/// Maximum size of a message of a WebSocket, in bytes: the largest packet.
const MAX_MESSAGE: usize = MAX_PUBLISH_BYTES + PACKET_OVERHEAD;

/// CONNACK of MQTT 3.1.1 with the code "server unavailable" (section 3.2.2.3).
const UNAVAILABLE: [u8; 4] = [0x20, 2, 0, 3];
/// Maximum time in which a client takes its refusal.
const REFUSE_WITHIN: Duration = Duration::from_secs(1);

/// Stream of bytes that MQTT can be spoken on.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static> ByteStream for S {}

/// Entrance to the broker. Cheap to clone; does not keep the broker running.
#[derive(Clone)]
pub struct MqttEntrance(pub(super) Weak<Gate>);

impl MqttEntrance {
    /// Serves MQTT on a stream of the client at `client` until it ends, or the broker stops. `key` is what the
    /// connection counts for before its login; `None` for a trusted proxy that stands for many clients.
    pub async fn serve(&self, mut stream: impl ByteStream, client: SocketAddr, key: Option<AddressKey>) {
        let Some(gate) = self.0.upgrade() else { return };
        let Some(place) = gate.waiting.take(key, true, Instant::now()) else {
            tracing::debug!(client.address = %client, "no place for a connection without a login; asking it to come back later");
            refuse(&mut stream).await;
            return;
        };
        let read = tokio::select! {
            read = tokio::time::timeout(CONNECT_WITHIN, first_packet(&mut stream)) => read,
            () = place.lost() => {
                refuse(&mut stream).await;
                return;
            }
        };
        match read {
            Ok(Ok((First::Whole, bytes))) => {
                let stream = Prefixed::new(bytes, stream);
                gate.serve(stream, client, Seat::new(key, place)).await;
            }
            Ok(Ok((refused, _))) => {
                tracing::debug!(client.address = %client, packet.refusal = ?refused, "refused the first packet; closing the connection");
            }
            Ok(Err(error)) => {
                tracing::debug!(client.address = %client, %error, "a connection ended before its CONNECT");
            }
            Err(_) => {
                tracing::debug!(client.address = %client, "no CONNECT in time; closing the connection");
            }
        }
    }

    /// Returns true if there is a place for another connection without a login.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.0.upgrade().is_some_and(|gate| gate.waiting.has_room())
    }

    /// Serves MQTT in the messages of a WebSocket, whose handshake is complete, as [`serve`](Self::serve) does.
    pub async fn serve_websocket(
        &self,
        stream: impl ByteStream,
        client: SocketAddr,
        key: Option<AddressKey>,
    ) {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE))
            .max_write_buffer_size(2 * MAX_MESSAGE);
        let stream = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
        self.serve(WebSocketStreamWrapper::new(stream), client, key).await;
    }
}

/// Sends a client the answer that the broker is unavailable. A device then pauses for longer than after a connection that
/// only ends.
async fn refuse(stream: &mut (impl AsyncWrite + Unpin)) {
    let told = async {
        stream.write_all(&UNAVAILABLE).await?;
        stream.shutdown().await
    };
    // A client that takes nothing learns nothing.
    let _ = tokio::time::timeout(REFUSE_WITHIN, told).await;
}

/// Returns the value of `Sec-WebSocket-Accept` for a client's `Sec-WebSocket-Key` (RFC 6455, section 4.2.2).
#[must_use]
pub fn websocket_accept(key: &str) -> String {
    tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes())
}

/// Reads until the first packet is complete or refused; returns it with what was read.
async fn first_packet(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(First, Vec<u8>)> {
    let (mut bytes, mut filled) = (vec![0; first::ROOM], 0);
    loop {
        let count = stream.read(&mut bytes[filled..]).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled += count;
        match first::look(&bytes[..filled]) {
            // A packet that fills the room is complete or too large.
            First::Part if filled < bytes.len() => {}
            seen => {
                bytes.truncate(filled);
                return Ok((seen, bytes));
            }
        }
    }
}

/// Stream of a listener, as the broker's crate takes it.
pub(super) struct Adopted<S> {
    pub(super) stream: S,
    pub(super) client: SocketAddr,
}

impl<S: ByteStream> WebSocketTransport for Adopted<S> {
    fn peer_addr(&self) -> mqtt5::error::Result<SocketAddr> {
        Ok(self.client)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Adopted<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Adopted<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
