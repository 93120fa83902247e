use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::envelope::envelope;
use crate::{CommandId, ConnId, DecodeError, StreamId, limits};

envelope! {
    ['de]
    /// What the cloud tells a device, on `v1/{device}/down`.
    pub enum Down {
        /// The answer to a hello.
        Welcome(Welcome) = "welcome",
        /// Everything up to a sequence number is stored; the device may forget it.
        Ack(Ack) = "ack",
        /// A record that the cloud will never store.
        Refuse(Refuse) = "refuse",
        /// Run a handler of the firmware.
        Command(Command) = "command",
        /// Do not run a command that has not started.
        Cancel(Cancel) = "cancel",
        /// The settings of the device; sent when they change, and after each welcome if there are any.
        Config(DeviceConfig) = "config",
        /// Which release to run; sent when it is decided, and after a welcome until the device has ended it.
        Directive(SignedDirective) = "directive",
    }
}

impl Down {
    /// Decodes one publish from the cloud.
    ///
    /// # Errors
    /// When the bytes are over [`limits::MAX_PUBLISH_BYTES`], are not JSON, or are of another version or
    /// shape.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > limits::MAX_PUBLISH_BYTES {
            return Err(DecodeError::TooLarge {
                len: bytes.len(),
                max: limits::MAX_PUBLISH_BYTES,
            });
        }
        Ok(serde_json::from_slice(bytes)?)
    }
}

/// The cloud's answer to a hello; the device sends batches only after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The connection that the hello named; a welcome for an older one is ignored.
    pub conn: ConnId,
    /// Cloud time, unix milliseconds.
    pub time_ms: u64,
    /// Position of every stream that the hello named, in its order.
    pub streams: Vec<StreamPosition>,
    /// What the cloud has under one number of each stream, as far as it remembers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<StreamCheck>,
}

/// What the cloud stored under the highest number that it remembers; it may lie above the stream's position.
///
/// A device that still holds that number compares. Another record there, or a number that it never gave,
/// means that the device was restored from an older image: it then starts a new stream, so that the cloud
/// does not take new records for repeated old ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamCheck {
    /// The stream.
    pub stream: StreamId,
    /// The number.
    pub seq: u64,
    /// [`Record::fingerprint`](crate::Record::fingerprint) of the record that was stored.
    pub hash: u32,
}

/// Settings that people keep in the cloud for one device's firmware to read. The cloud's word stands,
/// whatever the version.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeviceConfig {
    /// Grows with every change, from 1 on.
    pub version: u64,
    /// A JSON object of at most [`limits::MAX_CONFIG_BYTES`], its text as it was set.
    pub values: Box<RawValue>,
}

impl PartialEq for DeviceConfig {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version && self.values.get() == other.values.get()
    }
}

impl Eq for DeviceConfig {}

/// A [`Directive`](crate::release::Directive) as it was signed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SignedDirective {
    /// The document, at most [`MAX_DIRECTIVE_BYTES`](crate::release::MAX_DIRECTIVE_BYTES); its text as it was
    /// signed.
    pub document: Box<RawValue>,
}

impl PartialEq for SignedDirective {
    fn eq(&self, other: &Self) -> bool {
        self.document.get() == other.document.get()
    }
}

impl Eq for SignedDirective {}

/// How far the cloud has a stream: every number up to `upto` is stored, refused or a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamPosition {
    /// The stream.
    pub stream: StreamId,
    /// Highest contiguous sequence number; 0 before the first.
    pub upto: u64,
}

/// Cumulative acknowledgement of a stream: see [`StreamPosition`].
pub type Ack = StreamPosition;

/// A record that will never be stored; the device moves it to its dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refuse {
    /// The stream.
    pub stream: StreamId,
    /// The record.
    pub seq: u64,
    /// Why, for people; names the field.
    pub reason: String,
}

/// A command for the firmware.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Command {
    /// The command; the device runs each id once.
    pub id: CommandId,
    /// Name of the handler, the message definition's type.
    pub cmd_type: String,
    /// The options as a JSON object, without the type's prefix.
    pub values: Box<RawValue>,
    /// How long from its arrival the command may wait for its start, milliseconds. Relative: boards may have
    /// no clock.
    pub ttl_ms: u64,
}

/// Withdraws a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// The command.
    pub id: CommandId,
}
