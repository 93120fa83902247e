//! Broker inside the process: crate `mqtt5` behind the [`Broker`] trait. None of its types leave this folder.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use iottly_protocol::limits::MAX_PUBLISH_BYTES;
use iottly_protocol::{DeviceId, Topic};
use mqtt5::QoS;
use mqtt5::broker::router::MessageRouter;
use mqtt5::broker::storage::QueueLimits;
use mqtt5::broker::sys_topics::BrokerStats;
use mqtt5::broker::{BrokerConfig, ResourceLimits, ResourceMonitor, StorageConfig};
use mqtt5::packet::publish::PublishPacket;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, broadcast, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Authenticator, Broker, BrokerError, Uplink};
use crate::critical_tasks::CriticalTasks;
use crate::edge::{Acceptor, EdgeConfig, Places, Trusted};
use crate::links::Book;

mod access;
mod entrance;
mod first;
mod gate;
mod hooks;
mod pace;
mod peers;
mod rates;
mod seat;

use peers::{ClientId, Peers};

pub use entrance::{ByteStream, MqttEntrance, websocket_accept};

/// Allowance for topic, properties and headers around the largest publish, in bytes.
const PACKET_OVERHEAD: usize = 64 << 10;
/// Maximum number of messages queued for a device that reads slowly. Messages that the broker drops are
/// repeated by the protocol.
const CHANNEL_MESSAGES: usize = 256;
/// Maximum number and bytes of messages queued for an absent device with a session. Agents use no session;
/// commands wait in the store.
const QUEUED: (usize, usize) = (100, 1 << 20);
/// Time for which the session of a device that requested one is kept.
const SESSION_EXPIRY: Duration = Duration::from_secs(3600);
/// Maximum number of retained messages, and of bytes in each: one status of about a hundred bytes per device.
const RETAINED: (usize, usize) = (200_000, 1024);
/// Maximum time for which a shutdown waits for connections to close.
const CLOSE_WAIT: Duration = Duration::from_millis(500);

/// Configuration of the broker.
#[derive(Debug, Clone)]
pub struct EmbeddedConfig {
    /// Address of the plain TCP listener; port 0 takes any free port. None for no listener: devices come through
    /// the [`MqttEntrance`] only.
    pub listen: Option<SocketAddr>,
    /// Limits for connections, and trusted proxies.
    pub edge: EdgeConfig,
}

/// Running broker.
pub struct EmbeddedBroker {
    router: Arc<MessageRouter>,
    hooks: Arc<hooks::Hooks>,
    peers: Arc<Peers>,
    /// Devices with copies, without a decision; bounded by the devices.
    held: RwLock<HashSet<DeviceId>>,
    address: Option<SocketAddr>,
    entrance: MqttEntrance,
    stop: broadcast::Sender<()>,
    running: Mutex<Option<Running>>,
}

/// State that a shutdown waits for.
struct Running {
    gate: JoinHandle<()>,
    /// Ends when the last connection has closed.
    open: mpsc::Receiver<()>,
}

impl EmbeddedBroker {
    /// Starts to listen. `authenticator` admits devices; their messages go to `uplink`.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(
        config: &EmbeddedConfig,
        authenticator: Arc<dyn Authenticator>,
        uplink: Arc<dyn Uplink>,
    ) -> Result<Self, BrokerError> {
        let book = Arc::default();
        Self::start_watched(config, authenticator, uplink, book, &CriticalTasks::default()).await
    }

    /// Starts as [`start`](Self::start) does; notes links in `book`, and reports to `critical` when the listener fails.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub(crate) async fn start_watched(
        config: &EmbeddedConfig,
        authenticator: Arc<dyn Authenticator>,
        uplink: Arc<dyn Uplink>,
        book: Arc<Book>,
        critical: &CriticalTasks,
    ) -> Result<Self, BrokerError> {
        let failed = |reason: String| BrokerError::Listen {
            addr: config.listen.map_or_else(
                || "no address of its own".to_owned(),
                |address| address.to_string(),
            ),
            reason,
        };
        let listener = match config.listen {
            Some(address) => Some(
                TcpListener::bind(address)
                    .await
                    .map_err(|error| failed(error.to_string()))?,
            ),
            None => None,
        };
        let address = listener
            .as_ref()
            .map(TcpListener::local_addr)
            .transpose()
            .map_err(|error| failed(error.to_string()))?;
        let (bounds, rates) = (config.edge.bounds, Arc::new(rates::Rates::default()));
        let peers = Arc::new(Peers::default());
        let hooks = Arc::new(hooks::Hooks::new(uplink, Arc::clone(&rates), Arc::clone(&peers)));
        let mut settings = settings(bounds.devices);
        settings.event_handler = Some(Arc::clone(&hooks) as _);
        settings.validate().map_err(|error| failed(error.to_string()))?;
        let router = Arc::new(router(&settings));
        router
            .initialize()
            .await
            .map_err(|error| failed(error.to_string()))?;
        hooks.attach(Arc::downgrade(&router));
        let (stop, _) = broadcast::channel(1);
        let (open, closed) = mpsc::channel(1);
        let devices = Places::new(bounds.devices, bounds.devices_per_project);
        let gate = gate::Gate {
            router: Arc::clone(&router),
            stats: Arc::new(BrokerStats::new()),
            monitor: Arc::new(ResourceMonitor::new(limits(bounds.devices))),
            access: Arc::new(access::Access::new(
                authenticator,
                rates,
                devices,
                Arc::clone(&peers),
                book,
            )),
            waiting: Places::new(bounds.logins, bounds.logins_per_address),
            trusted: Trusted::new(&config.edge.trusted_proxies),
            config: Arc::new(settings),
            stop: stop.clone(),
            _open: open,
        };
        let gate = Arc::new(gate);
        let entrance = MqttEntrance(Arc::downgrade(&gate));
        let accepting = gate.run(listener.map(|listener| Acceptor::new("mqtt", listener)));
        let running = Running {
            gate: tokio::spawn(critical.watch_end("MQTT listener", accepting)),
            open: closed,
        };
        Ok(Self {
            router,
            hooks,
            peers,
            held: RwLock::default(),
            address,
            entrance,
            stop,
            running: Mutex::new(Some(running)),
        })
    }

    /// Returns the address on which it listens, with the actual port.
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Returns the entrance for connections that other listeners accept.
    #[must_use]
    pub fn entrance(&self) -> MqttEntrance {
        self.entrance.clone()
    }
}

/// Returns the broker's settings. Every limit is set, because the crate's defaults are open or unlimited.
fn settings(devices: usize) -> BrokerConfig {
    // The broker writes nothing to disk: data that must survive is in the store, and devices repeat the rest.
    let storage_config = StorageConfig::default()
        .with_persistence(false)
        .with_max_queued_messages_per_client(QUEUED.0)
        .with_max_queued_bytes_per_client(QUEUED.1);
    BrokerConfig {
        max_clients: devices,
        max_packet_size: MAX_PUBLISH_BYTES + PACKET_OVERHEAD,
        session_expiry_interval: SESSION_EXPIRY,
        maximum_qos: 1,
        topic_alias_maximum: 0,
        max_subscriptions_per_client: 4,
        max_retained_messages: RETAINED.0,
        max_retained_message_size: RETAINED.1,
        client_channel_capacity: CHANNEL_MESSAGES,
        sys_topics_enabled: false,
        storage_config,
        ..BrokerConfig::default()
    }
}

/// Returns the limits of the crate's own counters, which are not needed here: connections are counted by
/// address before the login and by project after it. Rates of 0 mean no limit: the crate would refuse a
/// publish in a way that MQTT 3.1.1 devices take for success.
const fn limits(devices: usize) -> ResourceLimits {
    ResourceLimits {
        max_connections: devices,
        max_connections_per_ip: devices,
        max_message_rate_per_client: 0,
        max_bandwidth_per_client: 0,
        max_connection_rate: u32::MAX,
        rate_limit_window: Duration::from_secs(1),
    }
}

fn router(settings: &BrokerConfig) -> MessageRouter {
    let queues = QueueLimits {
        max_messages: QUEUED.0,
        max_bytes: QUEUED.1,
    };
    let router = MessageRouter::new().with_fallback_queue_limits(queues);
    let router = match &settings.event_handler {
        Some(hooks) => router.with_event_handler(Arc::clone(hooks)),
        None => router,
    };
    router.with_retained_limits(settings.max_retained_messages, settings.max_retained_message_size)
}

#[async_trait]
impl Broker for EmbeddedBroker {
    async fn publish(&self, device: DeviceId, payload: Bytes) -> Result<(), BrokerError> {
        let topic = Topic::Down(device).to_string();
        if payload.len() > MAX_PUBLISH_BYTES {
            let reason = format!("{} bytes exceed the limit of {MAX_PUBLISH_BYTES}", payload.len());
            return Err(BrokerError::Publish { topic, reason });
        }
        if self
            .held
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&device)
        {
            return Err(BrokerError::Publish {
                topic,
                reason: "several boards log in as this device, and no operator has kept one".into(),
            });
        }
        if !self.is_connected(device).await {
            return Err(BrokerError::Publish {
                topic,
                reason: "the device is not connected".into(),
            });
        }
        let packet = PublishPacket::new(topic, payload, QoS::AtLeastOnce);
        // Does not wait for a device that reads slowly, because the ingest responds to all devices one after
        // the other.
        self.router
            .route_message_with_deadline(&packet, None, Instant::now())
            .await;
        Ok(())
    }

    fn hold(&self, device: DeviceId, held: bool) {
        let mut all = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if held {
            all.insert(device);
        } else {
            all.remove(&device);
        }
    }

    async fn tell_copies(&self, device: DeviceId, payload: Bytes) {
        for topic in [Topic::Held(device), Topic::Down(device)] {
            let packet = PublishPacket::new(topic.to_string(), payload.clone(), QoS::AtLeastOnce);
            self.router
                .route_message_with_deadline(&packet, None, Instant::now())
                .await;
        }
    }

    fn address(&self, device: DeviceId) -> Option<IpAddr> {
        self.peers.address(ClientId { device, copy: None })
    }

    async fn is_connected(&self, device: DeviceId) -> bool {
        self.router.is_connected(&device.to_string()).await
    }

    async fn disconnect(&self, device: DeviceId) {
        self.hooks.revoked(device).await;
        self.router.disconnect_client(&device.to_string()).await;
        for copy in self.peers.copies(device) {
            self.router.disconnect_client(&copy).await;
        }
    }

    async fn shutdown(&self) {
        let Some(Running { mut gate, mut open }) = self.running.lock().await.take() else {
            return;
        };
        self.hooks.close();
        // Fails only when the listener has already ended.
        let _ = self.stop.send(());
        let closed = async {
            let _ = (&mut gate).await;
            while open.recv().await.is_some() {}
        };
        if tokio::time::timeout(CLOSE_WAIT, closed).await.is_err() {
            gate.abort();
        }
    }
}
