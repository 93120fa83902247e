//! MQTT broker behind a trait: transports messages, never stores them.
//!
//! A PUBACK only means that the ingest queue has the message; devices keep a message until the cloud's own
//! acknowledgement.

use std::net::IpAddr;

use async_trait::async_trait;
use bytes::Bytes;
use iottly_protocol::DeviceId;

use iottly_core::model::Scope;

mod embedded;
mod login;

pub use embedded::{ByteStream, EmbeddedBroker, EmbeddedConfig, MqttEntrance, websocket_accept};
pub use login::{StoreLogin, login_of};

/// Error of the broker.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// Failed to listen.
    #[error("failed to listen for MQTT on {addr}: {reason}")]
    Listen {
        /// Requested address.
        addr: String,
        /// Reason given by the system.
        reason: String,
    },
    /// Failed to publish a message.
    #[error("failed to publish to {topic}: {reason}")]
    Publish {
        /// Topic of the message.
        topic: String,
        /// Reason of the failure.
        reason: String,
    },
}

/// Decides which devices may connect.
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Returns the scope of the device if `secret` is its secret; `None` if it is not. An error means that
    /// the secret cannot be checked at present, never that it is wrong.
    async fn authenticate(
        &self,
        device: DeviceId,
        secret: &[u8],
    ) -> Result<Option<Scope>, iottly_store::StoreError>;
    /// Takes note that a login as `device` from an address was refused, with the reason.
    async fn refused(&self, _device: DeviceId, _from: IpAddr, _reason: &str) {}
    /// Takes note that a device has logged in.
    fn admitted(&self, _device: DeviceId) {}
}

/// Receiver of the broker's reports about devices; implemented by the ingest. Must not block: it is called
/// before the PUBACK.
#[async_trait]
pub trait Uplink: Send + Sync + 'static {
    /// Takes a message that a device published to its `up` topic. Resolves when the bounded ingest queue has
    /// it.
    async fn message(&self, device: DeviceId, payload: Bytes);
    /// Takes a hello of one of several boards that share the keys of a device, with its address.
    async fn held(&self, device: DeviceId, address: Option<IpAddr>, payload: Bytes);
    /// Takes a status that a device published, or its last will.
    async fn status(&self, device: DeviceId, payload: Bytes);
    /// Takes a message about its board from a device.
    async fn board(&self, _device: DeviceId, _payload: Bytes) {}
    /// Takes a message about its health from a device.
    async fn health(&self, _device: DeviceId, _payload: Bytes) {}
    /// Reports that a device's state may have changed: the device was deleted, or its connection was closed
    /// for another reason.
    async fn revoked(&self, device: DeviceId);
    /// Reports that the last connection of a device has ended.
    async fn disconnected(&self, device: DeviceId);
}

/// Running broker.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Publishes to a device's `down` topic at QoS 1.
    ///
    /// # Errors
    /// When the broker cannot accept the message. Success does not mean that the device has received it.
    async fn publish(&self, device: DeviceId, payload: Bytes) -> Result<(), BrokerError>;
    /// Begins or ends to hold a device: nothing is published to its `down` topic.
    fn hold(&self, device: DeviceId, held: bool);
    /// Publishes a verdict to all boards that share the keys of a device, held or not.
    async fn tell_copies(&self, device: DeviceId, payload: Bytes);
    /// Returns the address of the device's connection.
    fn address(&self, device: DeviceId) -> Option<IpAddr>;
    /// Returns true if the device is connected.
    async fn is_connected(&self, device: DeviceId) -> bool;
    /// Closes the connection of a device, if there is one.
    async fn disconnect(&self, device: DeviceId);
    /// Stops listening and closes every connection.
    async fn shutdown(&self);
}
