//! Connections for the HTTP server: plain ones, or with TLS in front.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How long a client may take to agree on TLS.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes under way; further clients wait in the system's queue.
const MAX_HANDSHAKES: usize = 256;
/// Connections that are ready and not taken yet.
const READY: usize = 16;

/// Reads a certificate chain and its key, both PEM.
///
/// # Errors
/// When a file cannot be read or is not what it should be; names the file.
pub fn tls(cert: &Path, key: &Path) -> io::Result<Arc<ServerConfig>> {
    let named = |path: &Path, reason: &dyn std::fmt::Display| io::Error::other(format!("{}: {reason}", path.display()));
    let chain = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| named(cert, &error))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| named(key, &error))?;
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    let mut config = builder.with_no_client_auth().with_single_cert(chain, secret).map_err(|error| named(cert, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

impl Connected<IncomingStream<'_, Front>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Front>) -> Self {
        *stream.remote_addr()
    }
}

/// A bound listener, with or without TLS.
pub(super) enum Front {
    Plain(TcpListener),
    Tls { address: SocketAddr, ready: mpsc::Receiver<(Connection, Peer)> },
}

impl Front {
    pub(super) fn tls(listener: TcpListener, tls: Arc<ServerConfig>) -> io::Result<Self> {
        let (sender, ready) = mpsc::channel(READY);
        let address = listener.local_addr()?;
        tokio::spawn(shake_hands(listener, TlsAcceptor::from(tls), sender));
        Ok(Self::Tls { address, ready })
    }
}

impl Listener for Front {
    type Io = Connection;
    type Addr = Peer;

    async fn accept(&mut self) -> (Connection, Peer) {
        match self {
            Self::Plain(listener) => {
                let (stream, peer) = Listener::accept(listener).await;
                (Connection::Plain(prompt(stream)), Peer(peer))
            }
            Self::Tls { ready, .. } => match ready.recv().await {
                Some(connection) => connection,
                // Its task ends with this end only.
                None => std::future::pending().await,
            },
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        match self {
            Self::Plain(listener) => listener.local_addr().map(Peer),
            Self::Tls { address, .. } => Ok(Peer(*address)),
        }
    }
}

/// Small answers must not wait for the client's delayed acknowledgement.
fn prompt(stream: TcpStream) -> TcpStream {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "connection keeps its send delay");
    }
    stream
}

/// Agrees on TLS with many clients at a time: a slow one holds up nobody.
async fn shake_hands(mut listener: TcpListener, acceptor: TlsAcceptor, ready: mpsc::Sender<(Connection, Peer)>) {
    let room = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    loop {
        let next = async {
            let place = Arc::clone(&room).acquire_owned().await;
            (place, Listener::accept(&mut listener).await)
        };
        let (place, (stream, peer)) = tokio::select! {
            next = next => next,
            () = ready.closed() => return,
        };
        let (acceptor, ready) = (acceptor.clone(), ready.clone());
        tokio::spawn(async move {
            let _place = place;
            match tokio::time::timeout(HANDSHAKE, acceptor.accept(prompt(stream))).await {
                // Fails only when the server has stopped.
                Ok(Ok(stream)) => _ = ready.send((Connection::Tls(Box::new(stream)), Peer(peer))).await,
                Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS with a client"),
                Err(_) => tracing::debug!(%peer, "a client took too long to agree on TLS"),
            }
        });
    }
}

/// A client's connection.
pub(super) enum Connection {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
