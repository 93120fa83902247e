//! HTTP server: accepts connections within limits, does TLS handshakes, hands MQTT to the broker, and ends
//! connections whose clients stall.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::AlertDescription;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::certificate::Certificate;
use super::exchange::RequestContext;
use super::router::{metrics_router, router, router_with_metrics};
use super::stream::{Connection, Peer, Shared, Watched};
use crate::app::{App, WebServices, until_true};
use iottly_cloud::Metrics;
use iottly_cloud::broker::MqttEntrance;
use iottly_cloud::edge::{
    Acceptor, AddressKey, Peek, Place, Places, Prefixed, Trusted, Turns, peek_until, read_client_address,
};
use iottly_cloud::refusals::RefusalBook;
use iottly_core::refusals::RefusedStep;

/// Maximum time for which requests may continue after the server was asked to stop.
const GRACE: Duration = Duration::from_millis(1500);
/// Maximum time in which a trusted proxy sends its PROXY header, or a request without one.
const GREETING: Duration = Duration::from_secs(10);
/// Maximum time until the first byte of TLS arrives.
const FIRST_BYTE: Duration = Duration::from_secs(3);
/// Maximum duration of a TLS handshake, once it has started.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// First byte of a TLS record that belongs to a handshake.
const TLS_HANDSHAKE: u8 = 0x16;
/// Maximum size of the first TLS record that is waited for, in bytes; larger than the protocol allows (16 KiB
/// and a header).
const MAX_HELLO: usize = 17 << 10;
/// Maximum time until a client shows its protocol, when the handshake has not named it.
const PROTOCOL: Duration = Duration::from_secs(10);
/// Name of MQTT in the handshake (ALPN, RFC 7301).
pub(super) const ALPN_MQTT: &[u8] = b"mqtt";
/// Name of HTTP in the handshake.
pub(super) const ALPN_HTTP: &[u8] = b"http/1.1";
/// First byte of MQTT; no method of HTTP begins with it.
const MQTT_CONNECT: u8 = 0x10;
/// Maximum number of handshakes in progress; an idle one costs little.
const MAX_HANDSHAKES: usize = 1024;
/// Maximum number of handshakes in progress from one address; a whole site of devices may be behind it.
const MAX_HANDSHAKES_PER_ADDRESS: usize = 256;
/// Maximum number of handshakes a second; at about 0.4 ms each, a fleet that returns leaves most of a processor to the
/// devices that are connected.
const HANDSHAKES_PER_SECOND: u32 = 600;
/// Number of handshakes that may start at once after a pause.
const HANDSHAKE_BURST: u32 = 200;
/// Maximum time that a handshake waits for its turn; a client whose turn would come later is turned away.
const HANDSHAKE_TURN: Duration = Duration::from_secs(3);
/// Maximum size of a request's head, in bytes: headers, and a URL of 64 KiB, the longest that HTTP libraries
/// accept.
const MAX_HEAD: usize = 80 << 10;
/// Interval at which a connection is checked for being overdue.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Maximum number of connections to the listener of the metrics, which is for operators.
const MAX_METRICS: usize = 16;

/// Running HTTP server.
#[derive(Debug)]
pub struct Server {
    closing: watch::Sender<bool>,
    task: JoinHandle<()>,
    open: mpsc::Receiver<()>,
    certificate: Option<JoinHandle<()>>,
}

/// State that all connections of a listener share.
struct ListenerState {
    app: TowerToHyperService<Router>,
    places: Arc<Places<AddressKey>>,
    handshakes: Arc<Places<AddressKey>>,
    turns: Turns,
    metrics: Arc<Metrics>,
    refusals: Arc<RefusalBook>,
    trusted: Arc<Trusted>,
    tls: Option<TlsAcceptor>,
    /// Entrance to the broker, if the listener carries MQTT too.
    mqtt: Option<MqttEntrance>,
    closed: watch::Receiver<bool>,
    /// Closed when the last connection has ended, because every connection holds the state.
    _open: mpsc::Sender<()>,
}

/// Protocol of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http,
    Mqtt,
}

/// Connection that turned out to speak MQTT.
struct MqttConnection {
    entrance: MqttEntrance,
    stream: Prefixed<Connection>,
    client: SocketAddr,
    key: Option<AddressKey>,
}

impl Server {
    /// Serves REST API, dashboard and repositories on a bound listener, and the metrics for this machine and
    /// for operators.
    #[must_use]
    pub fn start(listener: TcpListener, services: WebServices) -> Self {
        let bounds = services.edge.bounds;
        Self::serve(
            listener,
            &services,
            (bounds.http, bounds.http_per_address),
            router_with_metrics,
        )
    }

    /// Serves as [`start`](Self::start) does, without the metrics.
    #[must_use]
    pub fn start_without_metrics(listener: TcpListener, services: WebServices) -> Self {
        let bounds = services.edge.bounds;
        Self::serve(
            listener,
            &services,
            (bounds.http, bounds.http_per_address),
            router,
        )
    }

    /// Serves as [`start_without_metrics`](Self::start_without_metrics) does, and MQTT on the same listener: a
    /// connection whose first byte begins a CONNECT. Nothing is encrypted.
    #[must_use]
    pub fn start_with_mqtt(listener: TcpListener, services: WebServices) -> Self {
        let bounds = services.edge.bounds;
        let mqtt = Some(services.mqtt.clone());
        Self::serve_with(
            listener,
            &services,
            (None, mqtt),
            (bounds.http, bounds.http_per_address),
            router,
        )
    }

    /// Serves as [`start_with_mqtt`](Self::start_with_mqtt) does, with TLS: MQTT is chosen by the handshake (ALPN
    /// `mqtt`), or by the first byte if the client names no protocol. The certificate is reloaded when its files
    /// change.
    ///
    /// # Errors
    /// When TLS is not available.
    pub fn start_tls(
        listener: TcpListener,
        services: WebServices,
        certificate: Arc<Certificate>,
    ) -> io::Result<Self> {
        let (bounds, tls) = (services.edge.bounds, TlsAcceptor::from(certificate.server()?));
        let services = services.over_https();
        let mqtt = Some(services.mqtt.clone());
        let mut server = Self::serve_with(
            listener,
            &services,
            (Some(tls), mqtt),
            (bounds.http, bounds.http_per_address),
            router,
        );
        server.certificate = Some(tokio::spawn(services.critical_tasks.watch_end(
            "certificate",
            certificate.watch(Arc::clone(&services.metrics), Arc::clone(&services.certificate)),
        )));
        Ok(server)
    }

    /// Serves only the metrics, to any client that reaches the listener.
    #[must_use]
    pub fn start_metrics(listener: TcpListener, services: WebServices) -> Self {
        Self::serve(listener, &services, (MAX_METRICS, MAX_METRICS), metrics_router)
    }

    fn serve(
        listener: TcpListener,
        services: &WebServices,
        places: (usize, usize),
        routes: impl FnOnce(App) -> Router,
    ) -> Self {
        Self::serve_with(listener, services, (None, None), places, routes)
    }

    fn serve_with(
        listener: TcpListener,
        services: &WebServices,
        (tls, mqtt): (Option<TlsAcceptor>, Option<MqttEntrance>),
        (all, per_address): (usize, usize),
        routes: impl FnOnce(App) -> Router,
    ) -> Self {
        let (closing, closed) = watch::channel(false);
        let (sender, open) = mpsc::channel(1);
        let state = ListenerState {
            app: TowerToHyperService::new(routes(App::new(services.clone(), closed.clone()))),
            places: Places::new(all, per_address),
            handshakes: Places::new(
                MAX_HANDSHAKES.min(all),
                MAX_HANDSHAKES_PER_ADDRESS.min(per_address),
            ),
            turns: Turns::new(HANDSHAKES_PER_SECOND, HANDSHAKE_BURST, HANDSHAKE_TURN),
            metrics: Arc::clone(&services.metrics),
            refusals: Arc::clone(&services.refusals),
            trusted: Arc::new(Trusted::new(&services.edge.trusted_proxies)),
            tls,
            mqtt,
            closed,
            _open: sender,
        };
        let accepting = Arc::new(state).run(Acceptor::new("http", listener));
        let task = tokio::spawn(services.critical_tasks.watch_end("HTTP listener", accepting));
        Self {
            closing,
            task,
            open,
            certificate: None,
        }
    }

    /// Stops within two seconds: streams end, and requests may finish.
    pub async fn shutdown(self) {
        self.closing.send_replace(true);
        let (mut task, mut open) = (self.task, self.open);
        if let Some(certificate) = self.certificate {
            certificate.abort();
        }
        let closed = async {
            let _ = (&mut task).await;
            while open.recv().await.is_some() {}
        };
        if tokio::time::timeout(GRACE, closed).await.is_err() {
            task.abort();
        }
    }
}

impl ListenerState {
    async fn run(self: Arc<Self>, mut acceptor: Acceptor) {
        let mut closed = pin!(until_true(self.closed.clone()));
        loop {
            let (stream, peer) = tokio::select! {
                accepted = acceptor.next() => accepted,
                () = &mut closed => return,
            };
            let Some(place) = self
                .places
                .take(self.trusted.key(peer.ip()), true, Instant::now())
            else {
                tracing::debug!(peer.address = %peer, "no place for an HTTP connection; closing it");
                continue;
            };
            let (state, place) = (Arc::clone(&self), Arc::new(place));
            tokio::spawn(async move {
                let ended = tokio::select! {
                    ended = state.connection(stream, peer, &place) => ended,
                    () = place.lost() => {
                        tracing::debug!(peer.address = %peer, "closed an idle HTTP connection to make room for another");
                        return;
                    }
                };
                // The place is for HTTP; the broker has places of its own.
                drop(place);
                match ended {
                    Ok(None) => {}
                    Ok(Some(device)) => {
                        // The broker ends the connection when the cloud stops.
                        drop(state);
                        device
                            .entrance
                            .serve(device.stream, device.client, device.key)
                            .await;
                    }
                    Err(error) => {
                        tracing::debug!(peer.address = %peer, %error, "an HTTP connection ended with an error");
                    }
                }
            });
            self.places.calm().await;
        }
    }

    /// Serves a connection until it ends; returns it if it speaks MQTT.
    async fn connection(
        &self,
        mut stream: TcpStream,
        peer: SocketAddr,
        place: &Arc<Place<AddressKey>>,
    ) -> io::Result<Option<MqttConnection>> {
        let client = within(GREETING, read_client_address(&mut stream, peer, &self.trusted)).await?;
        let direct = client == peer;
        let key = if direct {
            self.trusted.key(peer.ip())
        } else {
            Some(AddressKey::of(client.ip()))
        };
        if !direct && !place.count_as(key, Instant::now()) {
            return Err(io::Error::other("no place for a client of a proxy"));
        }
        let stream = match &self.tls {
            None => Connection::Plain(stream),
            Some(tls) => {
                let shaken = self.shake_hands(tls, stream, key, place).await;
                if let Some(reason) = shaken.as_ref().err().and_then(reason_of_tls) {
                    self.refusals.address(client.ip(), RefusedStep::Tls, &reason);
                }
                shaken?
            }
        };
        let Some((protocol, stream)) = within(PROTOCOL, self.protocol(stream)).await? else {
            return Ok(None);
        };
        if let (Protocol::Mqtt, Some(entrance)) = (protocol, &self.mqtt) {
            return Ok(Some(MqttConnection {
                entrance: entrance.clone(),
                stream,
                client,
                key,
            }));
        }
        let activity = Shared::new(Instant::now());
        let context = RequestContext {
            app: self.app.clone(),
            peer: Peer(client),
            proxied: direct && self.trusted.contains(peer.ip()),
            trusted: Arc::clone(&self.trusted),
            activity: activity.clone(),
            place: Arc::clone(place),
        };
        self.serve_requests(Watched::new(stream, activity.clone()), context, activity)
            .await?;
        Ok(None)
    }

    /// Finds out which protocol a client speaks; `None` if it left without a word.
    async fn protocol(&self, stream: Connection) -> io::Result<Option<(Protocol, Prefixed<Connection>)>> {
        let whole = |stream| Prefixed::new(Vec::new(), stream);
        if self.mqtt.is_none() {
            return Ok(Some((Protocol::Http, whole(stream))));
        }
        let named = match &stream {
            Connection::Tls(stream) => stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec),
            Connection::Plain(_) => None,
        };
        if let Some(named) = named {
            let protocol = if named == ALPN_MQTT {
                Protocol::Mqtt
            } else {
                Protocol::Http
            };
            return Ok(Some((protocol, whole(stream))));
        }
        let first = Prefixed::peek_first(stream).await?;
        Ok(first.map(|(first, stream)| match first {
            MQTT_CONNECT => (Protocol::Mqtt, stream),
            _ => (Protocol::Http, stream),
        }))
    }

    async fn serve_requests(
        &self,
        stream: Watched<Prefixed<Connection>>,
        context: RequestContext,
        activity: Shared,
    ) -> io::Result<()> {
        let service = service_fn(move |request| context.clone().answer(request));
        let mut http = http1::Builder::new();
        // The watchdog times heads instead, because it can distinguish a pause between two requests from a
        // request that does not arrive.
        http.timer(TokioTimer::new())
            .header_read_timeout(None::<Duration>)
            .max_buf_size(MAX_HEAD);
        let mut conversation = pin!(
            http.serve_connection(TokioIo::new(stream), service)
                .with_upgrades()
        );
        let mut closed = pin!(until_true(self.closed.clone()));
        let mut asked_to_end = false;
        loop {
            tokio::select! {
                ended = &mut conversation => return ended.map_err(io::Error::other),
                waited = overdue(&activity) => return Err(io::Error::new(io::ErrorKind::TimedOut, waited)),
                () = &mut closed, if !asked_to_end => {
                    asked_to_end = true;
                    conversation.as_mut().graceful_shutdown();
                }
            }
        }
    }

    /// Does the TLS handshake. A client that has sent nothing, or only part of its first record, does not
    /// occupy a place for handshakes; other clients lose theirs to newcomers when all are taken. A client that waits for
    /// its turn keeps its place: in a storm of reconnecting devices, the newcomers would otherwise take the places of
    /// those whose turn is next, and no device would get in.
    async fn shake_hands(
        &self,
        tls: &TlsAcceptor,
        stream: TcpStream,
        key: Option<AddressKey>,
        own: &Place<AddressKey>,
    ) -> io::Result<Connection> {
        within(FIRST_BYTE, peek_until(&stream, 1, |_| Peek::Done(()))).await?;
        within(HANDSHAKE, peek_until(&stream, MAX_HELLO, is_whole_record)).await?;
        let full = || io::Error::other("no place for a handshake");
        let Some(wait) = self.turns.take(Instant::now()) else {
            self.metrics.handshake_turned_away();
            return Err(io::Error::other("too many handshakes wait for their turns"));
        };
        if !wait.is_zero() {
            let lost = || io::Error::other("the place was given to another client");
            own.keep().then_some(()).ok_or_else(lost)?;
            tokio::time::sleep(wait).await;
            own.idle(Instant::now()).then_some(()).ok_or_else(lost)?;
        }
        let place = self.handshakes.take(key, true, Instant::now()).ok_or_else(full)?;
        let shaken = tokio::select! {
            shaken = within(HANDSHAKE, tls.accept(stream)) => shaken?,
            () = place.lost() => return Err(full()),
        };
        self.metrics.handshake();
        Ok(Connection::Tls(Box::new(shaken)))
    }
}

/// Returns the reason of a failed handshake, for people; none if the connection failed for a reason outside of TLS.
fn reason_of_tls(error: &io::Error) -> Option<String> {
    let tls = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let hint = match tls {
        rustls::Error::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown,
        ) => "it does not trust this cloud's certificate, or the address that it was given is not in it",
        rustls::Error::AlertReceived(AlertDescription::CertificateExpired) => {
            "for it the cloud's certificate is not valid at this time: is its clock right?"
        }
        rustls::Error::InvalidMessage(_) => "it does not speak TLS",
        _ => return Some(format!("the TLS handshake failed: {tls}")),
    };
    Some(format!("{hint} ({tls})"))
}

/// Returns `Done` when the first TLS record, in which the client's hello is or begins, is complete.
fn is_whole_record(bytes: &[u8]) -> Peek<()> {
    match bytes {
        // Not TLS: the handshake reports it.
        [kind, ..] if *kind != TLS_HANDSHAKE => Peek::Done(()),
        [_, _, _, high, low, record @ ..]
            if record.len() >= usize::from(u16::from_be_bytes([*high, *low])) =>
        {
            Peek::Done(())
        }
        _ => Peek::More,
    }
}

/// Resolves when the connection has waited for its client too long, with a description.
async fn overdue(activity: &Shared) -> &'static str {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let waited = activity.lock().overdue(Instant::now());
        if let Some(waited) = waited {
            return waited;
        }
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = |_| {
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client did not send anything in time",
        ))
    };
    tokio::time::timeout(limit, work).await.unwrap_or_else(late)
}
