//! Messages to the cloud.

use crate::bindings::iottly::firmware::telemetry::{self, Durability};
use crate::{Fault, device};

/// Message with its options; [`send`] is the short form.
#[derive(Debug, Clone, Copy)]
#[must_use = "a message goes nowhere until it is sent"]
pub struct Message<'a> {
    payload: &'a str,
    channel: Option<&'a str>,
    durability: Durability,
}

impl<'a> Message<'a> {
    /// Returns a message whose payload is the JSON text of one object.
    pub const fn new(payload: &'a str) -> Self {
        Self {
            payload,
            channel: None,
            durability: Durability::Buffered,
        }
    }

    /// Sets the channel.
    pub const fn channel(self, channel: &'a str) -> Self {
        Self {
            channel: Some(channel),
            ..self
        }
    }

    /// Makes [`Message::send`] return only once the message is on the device's disk.
    pub const fn durable(self) -> Self {
        Self {
            durability: Durability::Durable,
            ..self
        }
    }

    /// Sends the message.
    ///
    /// # Errors
    /// [`Fault::Invalid`] if the payload is not a JSON object, [`Fault::Limit`] if it is too long or the
    /// device's queue is full, [`Fault::Denied`] for a channel that the manifest does not name, [`Fault::Io`]
    /// if the queue cannot be written.
    pub fn send(self) -> Result<(), Fault> {
        device::require("sending a message")?;
        telemetry::send(self.payload, self.channel, self.durability)
    }
}

/// Sends the JSON text of one object to the cloud.
///
/// # Errors
/// As [`Message::send`].
pub fn send(payload: &str) -> Result<(), Fault> {
    Message::new(payload).send()
}

/// Sends a value that serializes to a JSON object: `send_msg(&json!({"temperature": 21.5}))?`.
///
/// # Errors
/// As [`Message::send`].
#[cfg(feature = "json")]
pub fn send_msg(payload: &impl serde::Serialize) -> Result<(), Fault> {
    let text = serde_json::to_string(payload)
        .map_err(|error| Fault::Invalid(format!("the payload is not JSON: {error}")))?;
    send(&text)
}
