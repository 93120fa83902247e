//! The broker inside the process: crate `mqtt5` behind the [`Broker`] trait. None of its types leave this
//! folder.

use std::net::SocketAddr;
use std::sync::Arc;
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
use crate::edge::{Acceptor, EdgeConfig, Places, Trusted};
use crate::vital::Vital;

mod access;
mod first;
mod gate;
mod hooks;
mod pace;
mod rates;
mod seat;

/// Room for topic, properties and headers around the largest publish.
const PACKET_OVERHEAD: usize = 64 << 10;
/// Most messages that wait for one device that reads slowly; what the broker drops, the protocol repeats.
const CHANNEL_MESSAGES: usize = 256;
/// Bounds of what waits for a device that is away with a session. Agents use none; commands wait in the
/// store.
const QUEUED: (usize, usize) = (100, 1 << 20);
/// How long the session of a device that asked for one is kept.
const SESSION_EXPIRY: Duration = Duration::from_secs(3600);
/// Retained messages: one status per device, each of about a hundred bytes.
const RETAINED: (usize, usize) = (200_000, 1024);
/// How long a shutdown waits for connections to close.
const CLOSE_WAIT: Duration = Duration::from_millis(500);

/// Where the broker listens.
#[derive(Debug, Clone)]
pub struct EmbeddedConfig {
    /// Address of the plain TCP listener; port 0 takes any free port.
    pub listen: SocketAddr,
    /// Numbers of connections, and proxies that are believed.
    pub edge: EdgeConfig,
}

/// The running broker.
pub struct EmbeddedBroker {
    router: Arc<MessageRouter>,
    hooks: Arc<hooks::Hooks>,
    address: SocketAddr,
    stop: broadcast::Sender<()>,
    running: Mutex<Option<Running>>,
}

/// What a shutdown waits for.
struct Running {
    gate: JoinHandle<()>,
    /// Ends when the last connection is closed.
    open: mpsc::Receiver<()>,
}

impl EmbeddedBroker {
    /// Starts listening. Devices are admitted by `authenticator`; what they publish goes to `uplink`.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(
        config: &EmbeddedConfig,
        authenticator: Arc<dyn Authenticator>,
        uplink: Arc<dyn Uplink>,
    ) -> Result<Self, BrokerError> {
        Self::start_watched(config, authenticator, uplink, &Vital::default()).await
    }

    /// As [`start`](Self::start); `vital` is told when the listener fails.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub(crate) async fn start_watched(
        config: &EmbeddedConfig,
        authenticator: Arc<dyn Authenticator>,
        uplink: Arc<dyn Uplink>,
        vital: &Vital,
    ) -> Result<Self, BrokerError> {
        let failed = |reason: String| BrokerError::Listen {
            addr: config.listen.to_string(),
            reason,
        };
        let listener = TcpListener::bind(config.listen)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let address = listener.local_addr().map_err(|error| failed(error.to_string()))?;
        let (bounds, rates) = (config.edge.bounds, Arc::new(rates::Rates::default()));
        let hooks = Arc::new(hooks::Hooks::new(uplink, Arc::clone(&rates)));
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
            access: Arc::new(access::Access::new(authenticator, rates, devices)),
            waiting: Places::new(bounds.logins, bounds.logins_per_address),
            trusted: Trusted::new(&config.edge.trusted_proxies),
            config: Arc::new(settings),
            stop: stop.clone(),
            _open: open,
        };
        let accepting = Arc::new(gate).run(Acceptor::new("mqtt", listener));
        let running = Running {
            gate: tokio::spawn(vital.watch_end("MQTT listener", accepting)),
            open: closed,
        };
        Ok(Self {
            router,
            hooks,
            address,
            stop,
            running: Mutex::new(Some(running)),
        })
    }

    /// The address it listens on, with the real port.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Every bound is set here: the crate's defaults are open or unlimited.
fn settings(devices: usize) -> BrokerConfig {
    // Nothing of the broker's is written to disk: the store has all that must survive, and devices repeat the
    // rest.
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

/// The crate's own counters, which its listener would ask. Ours does the counting: per address before the
/// login, per project after it. Rates stay 0, which is none: the crate would refuse a publish in a way that
/// devices of MQTT 3.1.1 take for success.
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
            let reason = format!(
                "{} bytes are over the limit of {MAX_PUBLISH_BYTES}",
                payload.len()
            );
            return Err(BrokerError::Publish { topic, reason });
        }
        if !self.is_connected(device).await {
            return Err(BrokerError::Publish {
                topic,
                reason: "the device is not connected".into(),
            });
        }
        let packet = PublishPacket::new(topic, payload, QoS::AtLeastOnce);
        // Nobody waits for a device that reads slowly: the ingest answers all devices one after the other.
        self.router
            .route_message_with_deadline(&packet, None, Instant::now())
            .await;
        Ok(())
    }

    async fn is_connected(&self, device: DeviceId) -> bool {
        self.router.is_connected(&device.to_string()).await
    }

    async fn disconnect(&self, device: DeviceId) {
        self.hooks.revoked(device).await;
        self.router.disconnect_client(&device.to_string()).await;
    }

    async fn shutdown(&self) {
        let Some(Running { mut gate, mut open }) = self.running.lock().await.take() else {
            return;
        };
        self.hooks.close();
        // Fails when the listener has ended already.
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
