//! MQTT in the messages of a WebSocket: the handshake, and the way between messages and a stream of bytes.

use std::io;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::{RETRY_AFTER, SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::client::PACKET_BYTES;
use super::route::DialError;

/// Path of the endpoint.
const PATH: &str = "/mqtt";
/// Name of MQTT among the protocols of WebSockets (MQTT 3.1.1, section 6).
const PROTOCOL: &str = "mqtt";
/// Maximum number of bytes of a message that is sent.
const CHUNK: usize = 64 << 10;
/// Status of a server that has no room now.
const BUSY: u16 = 503;

/// Turns a stream that speaks HTTP into a WebSocket. `authority` is the server's `host:port`.
///
/// # Errors
/// [`DialError::Busy`] when the cloud asks to come back later, [`DialError::WebSocket`] for all else.
pub(super) async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    authority: &str,
    stream: TlsStream<S>,
) -> Result<WebSocketStream<TlsStream<S>>, DialError> {
    let failed = |error| DialError::WebSocket(authority.to_owned(), Box::new(error));
    let mut request = format!("wss://{authority}{PATH}")
        .into_client_request()
        .map_err(failed)?;
    request
        .headers_mut()
        .insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    let config = WebSocketConfig::default()
        .max_message_size(Some(PACKET_BYTES))
        .max_frame_size(Some(PACKET_BYTES))
        .max_write_buffer_size(2 * PACKET_BYTES);
    match client_async_with_config(request, stream, Some(config)).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(answer)) if answer.status().as_u16() == BUSY => Err(DialError::Busy {
            after_s: answer
                .headers()
                .get(RETRY_AFTER)
                .and_then(|value| value.to_str().ok()?.parse().ok()),
        }),
        Err(error) => Err(failed(error)),
    }
}

/// Carries bytes between a stream and the messages of a WebSocket until one of them ends.
///
/// # Errors
/// If either of them cannot be read or written.
pub(super) async fn carry<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    socket: WebSocketStream<S>,
) -> io::Result<()> {
    let (mut sink, mut messages) = socket.split();
    let (mut from, mut to) = tokio::io::split(stream);
    let up = async {
        let mut bytes = vec![0; CHUNK];
        loop {
            let count = from.read(&mut bytes).await?;
            if count == 0 {
                return sink.close().await.map_err(io::Error::other);
            }
            let message = Message::binary(bytes[..count].to_vec());
            sink.send(message).await.map_err(io::Error::other)?;
        }
    };
    let down = async {
        while let Some(message) = messages.next().await {
            match message.map_err(io::Error::other)? {
                Message::Binary(bytes) => to.write_all(&bytes).await?,
                Message::Close(_) => break,
                // The library answers pings; text is no MQTT.
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
                Message::Text(_) => return Err(io::Error::other("a text in the WebSocket is no MQTT")),
            }
        }
        to.shutdown().await
    };
    tokio::select! {
        ended = down => ended,
        Err(error) = up => Err(error),
    }
}
