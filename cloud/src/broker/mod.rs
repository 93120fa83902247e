//! The MQTT broker behind one trait: transport, never storage.
//!
//! A PUBACK from it only means that the ingest queue has the message; devices forget a message at the cloud's
//! own ack.

use async_trait::async_trait;
use bytes::Bytes;
use iottly_protocol::DeviceId;

use iottly_core::model::Scope;

mod embedded;
mod login;

pub use embedded::{EmbeddedBroker, EmbeddedConfig};
pub use login::StoreLogin;

/// Why the broker did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// It could not listen.
    #[error("mqtt listener {addr}: {reason}")]
    Listen {
        /// The address asked for.
        addr: String,
        /// What the system said.
        reason: String,
    },
    /// It could not take a message.
    #[error("mqtt publish to {topic}: {reason}")]
    Publish {
        /// The topic.
        topic: String,
        /// What is wrong.
        reason: String,
    },
}

/// Decides who may connect.
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// The device that `secret` belongs to; none when it does not. An error means "cannot tell now", never
    /// "refused".
    async fn authenticate(
        &self,
        device: DeviceId,
        secret: &[u8],
    ) -> Result<Option<Scope>, iottly_store::StoreError>;
}

/// What the broker reports about devices; implemented by the ingest. Must not block: it is called before the
/// PUBACK.
#[async_trait]
pub trait Uplink: Send + Sync + 'static {
    /// A device published to its `up` topic. Resolves when the bounded ingest queue has it.
    async fn message(&self, device: DeviceId, payload: Bytes);
    /// A device published its status, or its last will came due.
    async fn status(&self, device: DeviceId, payload: Bytes);
    /// What was true of a device may not be so any more: it was deleted, or its connection was closed for
    /// another reason.
    async fn revoked(&self, device: DeviceId);
    /// The last connection of a device is gone.
    async fn disconnected(&self, device: DeviceId);
}

/// A running broker.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Publishes to a device's `down` topic at QoS 1.
    ///
    /// # Errors
    /// When the broker cannot take the message; whether the device has it only the device can say.
    async fn publish(&self, device: DeviceId, payload: Bytes) -> Result<(), BrokerError>;
    /// Says whether a connection of the device is up.
    async fn is_connected(&self, device: DeviceId) -> bool;
    /// Closes the connection of a device, if there is one.
    async fn disconnect(&self, device: DeviceId);
    /// Stops listening and closes every connection.
    async fn shutdown(&self);
}
