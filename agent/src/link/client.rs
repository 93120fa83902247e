//! The MQTT client. One task polls its event loop and does nothing else; any error ends that task and the
//! connection.
//!
//! Sessions are clean: records stay in the device's queue until the cloud acknowledges them, and commands
//! stay in the cloud's store until their result. A session kept by a broker could only repeat what is sent
//! again anyway.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use iottly_protocol::{BootId, ConnId, DeviceId, Secret, Status, Topic, limits};
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, LastWill, MqttOptions, NetworkOptions,
    Packet, Publish, QoS, Transport,
};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::bridge::Bridge;
use super::route::{DialError, Route};
use crate::config::Way;

/// Maximum number of requests that wait for the client's task; far above the session's windows.
const REQUESTS: usize = 256;
/// Maximum number of packets that wait for the link's task.
const PACKETS: usize = 64;
/// Maximum number of publishes without the broker's acknowledgement.
const IN_FLIGHT: u16 = 64;
/// Room for topic and headers around the largest publish, in bytes: a message that is too large is refused by
/// its decoder and does not end the connection.
const FRAME_BYTES: usize = 64 << 10;
/// Maximum size of a packet, in bytes.
pub(super) const PACKET_BYTES: usize = limits::MAX_PUBLISH_BYTES + FRAME_BYTES;
/// MQTT keep-alive interval.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Maximum time to establish a connection, in seconds; for an encrypted one, and once more for MQTT in it.
const CONNECT_SECONDS: u64 = 10;
/// Maximum time that a clean stop waits for the broker to close the connection.
const FAREWELL: Duration = Duration::from_millis(1500);

/// Route to the broker and credentials of the device.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) route: Route,
    pub(crate) device: DeviceId,
    /// Secret of the login; enrolled devices get new ones while they run.
    pub(crate) secret: watch::Receiver<Secret>,
    /// Notified when the broker refuses the secret.
    pub(crate) refused: Arc<Notify>,
    /// Hash of the board's serial number or machine id.
    pub(crate) hardware: Option<String>,
    /// File that is there once another board was kept as this device.
    pub(crate) copy_mark: PathBuf,
    /// Optional features for the hello.
    pub(crate) capabilities: Vec<String>,
}

/// Event of a connection.
#[derive(Debug)]
pub(super) enum Incoming {
    /// The broker has accepted the connection and the subscription.
    Ready,
    /// A message on the device's `down` topic; must be confirmed.
    Message(Publish),
    /// The connection has ended; no event follows.
    Lost(Loss),
}

/// End of a connection, or of the attempt to open it.
#[derive(Debug)]
pub(super) struct Loss {
    pub(super) reason: String,
    /// Set when the cloud had no room for the device: the seconds that it asks to wait, if it says so.
    pub(super) busy: Option<Option<u64>>,
    /// True when the broker refused the secret.
    pub(super) refused: bool,
}

impl From<String> for Loss {
    fn from(reason: String) -> Self {
        Self {
            reason,
            busy: None,
            refused: false,
        }
    }
}

impl From<DialError> for Loss {
    fn from(error: DialError) -> Self {
        let busy = match error {
            DialError::Busy { after_s } => Some(after_s),
            _ => None,
        };
        Self {
            reason: error.to_string(),
            busy,
            refused: false,
        }
    }
}

impl From<ConnectionError> for Loss {
    fn from(error: ConnectionError) -> Self {
        let busy = matches!(
            error,
            ConnectionError::ConnectionRefused(ConnectReturnCode::ServiceUnavailable)
        );
        Self {
            reason: error.to_string(),
            busy: busy.then_some(None),
            refused: matches!(
                error,
                ConnectionError::ConnectionRefused(
                    ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized
                )
            ),
        }
    }
}

/// Connection to the broker. Dropping it closes the socket.
pub(super) struct Connection {
    client: AsyncClient,
    device: DeviceId,
    conn: ConnId,
    is_copy: bool,
    way: Way,
    incoming: mpsc::Receiver<Incoming>,
    poller: JoinHandle<()>,
}

/// Error of a connection whose request queue is full or whose task has ended.
#[derive(Debug, thiserror::Error)]
#[error("the MQTT client accepts no more requests")]
pub(super) struct Congested;

impl Connection {
    /// Opens a connection of the device, or of this process as one of several boards that share its keys.
    pub(super) fn open(endpoint: &Endpoint, way: Way, conn: ConnId, copy: Option<BootId>) -> Self {
        let device = endpoint.device;
        let id = copy.map_or_else(|| device.to_string(), |boot| format!("{device}.{boot}"));
        let name = Bridge::name(conn);
        let mut options = if way == Way::Plain {
            let (host, port) = endpoint.route.address();
            MqttOptions::new(id, host, port)
        } else {
            let mut options = MqttOptions::new(id, Bridge::path(&name), 0);
            options.set_transport(Transport::Unix);
            options
        };
        options
            .set_credentials(device.to_string(), endpoint.secret.borrow().expose())
            .set_clean_session(true)
            .set_manual_acks(true)
            .set_keep_alive(KEEP_ALIVE)
            .set_inflight(IN_FLIGHT)
            .set_max_packet_size(PACKET_BYTES, PACKET_BYTES);
        if copy.is_none() {
            options.set_last_will(LastWill::new(
                Topic::Status(device).to_string(),
                Status::new(conn, false).encode(),
                QoS::AtLeastOnce,
                true,
            ));
        }
        let (client, mut events) = AsyncClient::new(options, REQUESTS);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(CONNECT_SECONDS);
        events.set_network_options(network);
        let (tx, incoming) = mpsc::channel(PACKETS);
        let greeter = Greeter {
            client: client.clone(),
            device,
            conn,
            is_copy: copy.is_some(),
        };
        let route = endpoint.route.clone();
        let poller = tokio::spawn(async move {
            if way == Way::Plain {
                poll(events, greeter, tx).await;
            } else {
                poll_bridged(&route, way, &name, (events, greeter, tx)).await;
            }
        });
        Self {
            client,
            device,
            conn,
            is_copy: copy.is_some(),
            way,
            incoming,
            poller,
        }
    }

    /// Returns the way that the connection takes.
    pub(super) const fn way(&self) -> Way {
        self.way
    }

    /// Waits for the next event of the connection. Cancel-safe.
    pub(super) async fn recv(&mut self) -> Incoming {
        self.incoming
            .recv()
            .await
            .unwrap_or_else(|| Incoming::Lost("the client's task has ended".to_owned().into()))
    }

    /// Publishes to the `up` topic at QoS 1; a copy to the `held` topic.
    pub(super) fn publish(&self, payload: Vec<u8>) -> Result<(), Congested> {
        let topic = if self.is_copy {
            Topic::Held(self.device)
        } else {
            Topic::Up(self.device)
        };
        self.client
            .try_publish(topic.to_string(), QoS::AtLeastOnce, false, payload)
            .map_err(|_| Congested)
    }

    /// Publishes the state of the board at QoS 0. Without room for it, it is dropped: a newer one follows.
    pub(super) fn publish_board(&self, payload: Vec<u8>) {
        self.publish_newest(Topic::Board(self.device), payload);
    }

    /// Publishes a report about the device's health at QoS 0. Without room for it, it is dropped: a newer one follows.
    pub(super) fn publish_health(&self, payload: Vec<u8>) {
        self.publish_newest(Topic::Health(self.device), payload);
    }

    fn publish_newest(&self, topic: Topic, payload: Vec<u8>) {
        if self.is_copy {
            return;
        }
        let sent = self
            .client
            .try_publish(topic.to_string(), QoS::AtMostOnce, false, payload);
        if sent.is_err() {
            tracing::trace!(%topic, "the MQTT client has no room for a message at QoS 0; dropping it");
        }
    }

    /// Returns a client that can confirm messages later.
    pub(super) fn client(&self) -> AsyncClient {
        self.client.clone()
    }

    /// Publishes the offline status, disconnects, and waits up to 1.5 s for the broker to close the
    /// connection.
    pub(super) async fn close(mut self) {
        let status = Status::new(self.conn, false).encode();
        let topic = Topic::Status(self.device).to_string();
        let goodbye = || self.client.try_publish(topic, QoS::AtLeastOnce, true, status);
        if !self.is_copy && goodbye().is_err() || self.client.try_disconnect().is_err() {
            return;
        }
        let gone = async {
            while let Some(incoming) = self.incoming.recv().await {
                if matches!(incoming, Incoming::Lost(_)) {
                    break;
                }
            }
        };
        if tokio::time::timeout(FAREWELL, gone).await.is_err() {
            tracing::debug!("failed to disconnect in time; closing the socket");
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.poller.abort();
    }
}

/// First requests of a new connection: subscription and online status.
struct Greeter {
    client: AsyncClient,
    device: DeviceId,
    conn: ConnId,
    is_copy: bool,
}

impl Greeter {
    fn connected(&self) -> Result<(), Congested> {
        if self.is_copy {
            let topic = Topic::Held(self.device).to_string();
            return self
                .client
                .try_subscribe(topic, QoS::AtLeastOnce)
                .map_err(|_| Congested);
        }
        let status = Status::new(self.conn, true).encode();
        self.client
            .try_subscribe(Topic::Down(self.device).to_string(), QoS::AtLeastOnce)
            .and_then(|()| {
                self.client.try_publish(
                    Topic::Status(self.device).to_string(),
                    QoS::AtLeastOnce,
                    true,
                    status,
                )
            })
            .map_err(|_| Congested)
    }
}

/// Opens an encrypted connection and polls a client on it.
async fn poll_bridged(
    route: &Route,
    way: Way,
    name: &str,
    (events, greeter, tx): (EventLoop, Greeter, mpsc::Sender<Incoming>),
) {
    let dialed = timeout(Duration::from_secs(CONNECT_SECONDS), route.dial(way)).await;
    let opened = match dialed {
        Ok(Ok(channel)) => Bridge::open(name)
            .map(|bridge| (bridge, channel))
            .map_err(|error| format!("failed to open a socket for the MQTT client: {error}").into()),
        Ok(Err(error)) => Err(Loss::from(error)),
        Err(_) => Err(format!("no connection within {CONNECT_SECONDS} s").into()),
    };
    match opened {
        Ok((bridge, channel)) => {
            let carried = async {
                if let Err(error) = bridge.carry(channel).await {
                    tracing::debug!(%error, "the connection below MQTT ended with an error");
                }
                // The client sees the end, and reports it.
                std::future::pending().await
            };
            tokio::select! {
                () = poll(events, greeter, tx) => {}
                () = carried => {}
            }
        }
        // The connection may have been dropped meanwhile.
        Err(loss) => _ = tx.send(Incoming::Lost(loss)).await,
    }
}

/// Polls until the first error. `EventLoop::poll` is not cancel-safe, so it is awaited alone.
async fn poll(mut events: EventLoop, greeter: Greeter, tx: mpsc::Sender<Incoming>) {
    loop {
        let incoming = match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => match greeter.connected() {
                Ok(()) => continue,
                Err(congested) => Incoming::Lost(congested.to_string().into()),
            },
            Ok(Event::Incoming(Packet::SubAck(ack))) => {
                let granted = !ack
                    .return_codes
                    .iter()
                    .any(|code| matches!(code, rumqttc::SubscribeReasonCode::Failure));
                if granted {
                    Incoming::Ready
                } else {
                    Incoming::Lost("the broker refused the subscription".to_owned().into())
                }
            }
            Ok(Event::Incoming(Packet::Publish(publish))) => Incoming::Message(publish),
            Ok(_) => continue,
            Err(error) => Incoming::Lost(error.into()),
        };
        let last = matches!(incoming, Incoming::Lost(_));
        if tx.send(incoming).await.is_err() || last {
            return;
        }
    }
}
