//! Listener of the broker.
//!
//! The broker crate's own accept loop spins while file descriptors are used up and does not limit connections
//! before the login. Therefore connections are accepted here and handed to its `ClientHandler` one by one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt5::broker::client_handler::ClientHandler;
use mqtt5::broker::router::MessageRouter;
use mqtt5::broker::sys_topics::BrokerStats;
use mqtt5::broker::transport::BrokerTransport;
use mqtt5::broker::{BrokerConfig, ResourceMonitor};
use tokio::net::TcpStream;
use tokio::sync::{broadcast, mpsc};

use super::access::{Access, Visitor};
use super::entrance::Adopted;
use super::entrance::ByteStream;
use super::first::{self, First};
use super::seat::Seat;
use crate::edge::{Acceptor, AddressKey, Peek, Places, Trusted, peek_until, read_client_address};
use crate::links::Watched;

/// Maximum time until a client's CONNECT is complete. The broker's crate allows the same time for the login
/// itself.
pub(super) const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Interval of the maintenance of the broker's crate: expired sessions, and windows of its counters.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// State that all connections share.
pub(super) struct Gate {
    pub(super) config: Arc<BrokerConfig>,
    pub(super) router: Arc<MessageRouter>,
    pub(super) stats: Arc<BrokerStats>,
    pub(super) monitor: Arc<ResourceMonitor>,
    pub(super) access: Arc<Access>,
    pub(super) waiting: Arc<Places<AddressKey>>,
    pub(super) trusted: Trusted,
    pub(super) stop: broadcast::Sender<()>,
    /// Closed when the last connection has ended, because every connection holds the gate.
    pub(super) _open: mpsc::Sender<()>,
}

impl Gate {
    /// Accepts connections until the broker is stopped; without an acceptor, only does the maintenance.
    pub(super) async fn run(self: Arc<Self>, mut acceptor: Option<Acceptor>) {
        let (mut stop, mut tidy) = (self.stop.subscribe(), tokio::time::interval(TIDY_EVERY));
        loop {
            tokio::select! {
                (stream, peer) = next(&mut acceptor) => {
                    self.welcome(stream, peer);
                    self.waiting.calm().await;
                }
                _ = tidy.tick() => {
                    self.router.sweep_sessions().await;
                    self.monitor.cleanup_expired_windows().await;
                }
                _ = stop.recv() => return,
            }
        }
    }

    /// Gives a connection a place among those without a login, and checks its first packet in a task of its
    /// own.
    fn welcome(self: &Arc<Self>, mut stream: TcpStream, peer: SocketAddr) {
        let Some(place) = self
            .waiting
            .take(self.trusted.key(peer.ip()), true, Instant::now())
        else {
            tracing::debug!(peer.address = %peer, "no place for a connection without a login; closing it");
            return;
        };
        let gate = Arc::clone(self);
        tokio::spawn(async move {
            let read = tokio::time::timeout(CONNECT_WITHIN, async {
                let client = read_client_address(&mut stream, peer, &gate.trusted).await?;
                if client != peer && !place.count_as(Some(AddressKey::of(client.ip())), Instant::now()) {
                    return Ok((
                        client,
                        First::Refused("no place for a connection without a login"),
                    ));
                }
                Ok::<_, std::io::Error>((client, connect(&stream).await?))
            });
            let read = tokio::select! {
                read = read => read,
                () = place.lost() => return,
            };
            match read {
                Ok(Ok((client, First::Whole))) => {
                    let address = if client == peer {
                        gate.trusted.key(peer.ip())
                    } else {
                        Some(AddressKey::of(client.ip()))
                    };
                    gate.serve(stream, client, Seat::new(address, place)).await;
                }
                Ok(Ok((client, refused))) => {
                    tracing::debug!(client.address = %client, packet.refusal = ?refused, "refused the first packet; closing the connection")
                }
                Ok(Err(error)) => {
                    tracing::debug!(peer.address = %peer, %error, "a connection ended before its CONNECT")
                }
                Err(_) => tracing::debug!(peer.address = %peer, "no CONNECT in time; closing the connection"),
            }
        });
    }

    /// Serves a connection of `client` until it ends. Its CONNECT is complete, or limited in another way. All
    /// kinds of streams are served by this function.
    pub(super) async fn serve(&self, stream: impl ByteStream, client: SocketAddr, seat: Seat) {
        let seat = Arc::new(seat);
        let (stream, link) = Watched::new(stream);
        // The crate's only transport for streams of any kind.
        let transport = BrokerTransport::WebSocket(Box::new(Adopted { stream, client }));
        let visitor = Visitor {
            access: Arc::clone(&self.access),
            seat: Arc::clone(&seat),
            link,
        };
        let handler = ClientHandler::new(
            transport,
            client,
            Arc::clone(&self.config),
            Arc::clone(&self.router),
            Arc::new(visitor),
            None,
            Arc::clone(&self.stats),
            Arc::clone(&self.monitor),
            self.stop.subscribe(),
        );
        tokio::select! {
            ended = handler.run() => {
                if let Err(error) = ended
                    && !error.is_normal_disconnect()
                {
                    tracing::debug!(client.address = %client, %error, "a connection ended with an error");
                }
            }
            () = seat.lost() => tracing::debug!(client.address = %client, "closed a connection without a login to make room for another"),
        }
        // A delayed last will keeps the rules of this connection, and with them the seat, alive.
        seat.leave();
    }
}

/// Checks the first packet, which stays in the stream.
async fn connect(stream: &TcpStream) -> std::io::Result<First> {
    let look = |bytes: &[u8]| match first::look(bytes) {
        First::Part => Peek::More,
        found => Peek::Done(found),
    };
    peek_until(stream, first::ROOM, look).await
}

/// Resolves with the next connection; never without an acceptor.
async fn next(acceptor: &mut Option<Acceptor>) -> (TcpStream, SocketAddr) {
    match acceptor {
        Some(acceptor) => acceptor.next().await,
        None => std::future::pending().await,
    }
}
