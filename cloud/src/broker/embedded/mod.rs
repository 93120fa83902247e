//! The broker inside the process: crate `mqtt5` behind the [`Broker`] trait. None of its types leave this folder.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use iottly_protocol::limits::MAX_PUBLISH_BYTES;
use iottly_protocol::{DeviceId, Topic};
use mqtt5::QoS;
use mqtt5::broker::config::AuthConfig;
use mqtt5::broker::router::MessageRouter;
use mqtt5::broker::{BrokerConfig, BrokerShutdownHandle, MqttBroker, StorageConfig};
use mqtt5::packet::publish::PublishPacket;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Authenticator, Broker, BrokerError, Uplink};

mod access;
mod hooks;
mod throttle;

/// Most connections at a time.
const MAX_CLIENTS: usize = 20_000;
/// Room for topic, properties and headers around the largest publish.
const PACKET_OVERHEAD: usize = 64 << 10;
/// Most messages that wait for one device that reads slowly; what the broker drops, the protocol repeats.
const CHANNEL_MESSAGES: usize = 256;
/// Bounds of what waits for a device that is away with a session. Agents use none; commands wait in the store.
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
}

/// The running broker.
pub struct EmbeddedBroker {
    router: Arc<MessageRouter>,
    hooks: Arc<hooks::Hooks>,
    address: SocketAddr,
    stop: BrokerShutdownHandle,
    running: Mutex<Option<JoinHandle<()>>>,
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
        let failed = |reason: String| BrokerError::Listen { addr: config.listen.to_string(), reason };
        let hooks = Arc::new(hooks::Hooks::new(uplink));
        let mut settings = settings(config.listen);
        settings.event_handler = Some(Arc::clone(&hooks) as _);
        let broker = MqttBroker::with_config(settings).await.map_err(|error| failed(error.to_string()))?;
        let mut broker = broker.with_auth_provider(Arc::new(access::Access::new(authenticator)));
        let address = broker.local_addr().ok_or_else(|| failed("no listener was opened".into()))?;
        let (router, stop, mut ready) = (broker.router(), broker.shutdown_handle(), broker.ready_receiver());
        hooks.attach(Arc::downgrade(&router));
        let running = tokio::spawn(async move {
            if let Err(error) = broker.run().await {
                tracing::error!(%error, "mqtt broker stopped");
            }
        });
        ready.wait_for(|ready| *ready).await.map_err(|_| failed("the broker stopped while it started".into()))?;
        Ok(Self { router, hooks, address, stop, running: Mutex::new(Some(running)) })
    }

    /// The address it listens on, with the real port.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Every bound is set here: the crate's defaults are open or unlimited.
fn settings(listen: SocketAddr) -> BrokerConfig {
    // Nothing of the broker's is written to disk: the store has all that must survive, and devices repeat the rest.
    let storage_config = StorageConfig::default()
        .with_persistence(false)
        .with_max_queued_messages_per_client(QUEUED.0)
        .with_max_queued_bytes_per_client(QUEUED.1);
    BrokerConfig {
        bind_addresses: vec![listen],
        max_clients: MAX_CLIENTS,
        max_packet_size: MAX_PUBLISH_BYTES + PACKET_OVERHEAD,
        session_expiry_interval: SESSION_EXPIRY,
        maximum_qos: 1,
        topic_alias_maximum: 0,
        max_subscriptions_per_client: 4,
        max_retained_messages: RETAINED.0,
        max_retained_message_size: RETAINED.1,
        client_channel_capacity: CHANNEL_MESSAGES,
        sys_topics_enabled: false,
        // Taken for "no provider of its own", which `start` replaces before the first connection is accepted.
        auth_config: AuthConfig { allow_anonymous: true, ..AuthConfig::default() },
        storage_config,
        ..BrokerConfig::default()
    }
}

#[async_trait]
impl Broker for EmbeddedBroker {
    async fn publish(&self, device: DeviceId, payload: Bytes) -> Result<(), BrokerError> {
        let topic = Topic::Down(device).to_string();
        if payload.len() > MAX_PUBLISH_BYTES {
            let reason = format!("{} bytes are over the limit of {MAX_PUBLISH_BYTES}", payload.len());
            return Err(BrokerError::Publish { topic, reason });
        }
        if !self.is_connected(device).await {
            return Err(BrokerError::Publish { topic, reason: "the device is not connected".into() });
        }
        let packet = PublishPacket::new(topic, payload, QoS::AtLeastOnce);
        // Nobody waits for a device that reads slowly: the ingest answers all devices one after the other.
        self.router.route_message_with_deadline(&packet, None, Instant::now()).await;
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
        let Some(mut running) = self.running.lock().await.take() else { return };
        self.hooks.close();
        self.stop.shutdown();
        if tokio::time::timeout(CLOSE_WAIT, &mut running).await.is_err() {
            running.abort();
        }
    }
}
