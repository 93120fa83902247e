//! Messages from the cloud to a device. Shapes only; nothing is decided here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::board::BoardOrder;
use crate::enroll::EnrollOffer;
use crate::envelope::envelope;
use crate::release::MAX_ORDER_SCRIPT_BYTES;
use crate::{BootId, CommandId, ConnId, DecodeError, StreamId, limits};

envelope! {
    ['de]
    /// Message from the cloud to a device, on `v1/{device}/down`.
    pub enum Down {
        /// Reply to a hello.
        Welcome(Welcome) = "welcome",
        /// Every record up to a sequence number is stored; the device may delete it.
        Ack(Ack) = "ack",
        /// The cloud will never store this record.
        Refuse(Refuse) = "refuse",
        /// Request to run a handler of the firmware.
        Command(Command) = "command",
        /// Request not to run a command that has not started.
        Cancel(Cancel) = "cancel",
        /// Settings of the device; sent when they change, and after each welcome if there are any.
        Config(DeviceConfig) = "config",
        /// Directive about the release to run; sent when it is decided, and after a welcome until the device
        /// has ended it.
        Directive(SignedDirective) = "directive",
        /// Developer order with its script; sent on each save, and the newest after a welcome while its lease lasts.
        /// Devices that do not know it ignore it.
        Developer(SignedOrder) = "developer",
        /// Verdict on one of several boards that share the keys of one device. Devices that do not know it ignore it.
        Held(Held) = "held",
        /// Order to show the board, and inputs to it; sent only to devices with the capability
        /// [`CAN_SHOW_BOARD`](crate::board::CAN_SHOW_BOARD).
        Board(BoardOrder) = "board",
        /// Announcement of a root of the project's releases; sent when it is published, and after a welcome to a device that
        /// trusts an older one. Devices that do not know it ignore it, and take the root up with their next update.
        Root(NewestRoot) = "root",
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

/// Reply to a hello; the device sends batches only after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Connection that the hello named; a welcome for an older one is ignored.
    pub conn: ConnId,
    /// Cloud time, unix milliseconds.
    pub time_ms: u64,
    /// Position of every stream that the hello named, in its order.
    pub streams: Vec<StreamPosition>,
    /// Records that the cloud remembers, one number of each stream at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<StreamCheck>,
    /// Offer to a device without a key to make one. A device that does not know the field stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enroll: Option<EnrollOffer>,
    /// Names of optional features that the cloud supports, sorted. A device that does not know the field ignores it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
}

/// Record that the cloud stored under the highest number that it remembers; the number may be above the
/// stream's position.
///
/// A device that still holds that number compares. Another record there, or a number that the device never
/// gave, means that the device was restored from an older image: it then starts a new stream, so that the
/// cloud does not take new records for repeated old ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamCheck {
    /// The stream.
    pub stream: StreamId,
    /// Sequence number of the record.
    pub seq: u64,
    /// [`Record::fingerprint`](crate::Record::fingerprint) of the record that was stored.
    pub hash: u32,
}

/// Verdict on one of several boards that share the keys of one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Process that the verdict is for; others ignore it.
    pub boot: BootId,
    /// True if the board is the device, false if it is a copy that stops; none before a decision: the board
    /// connects as a copy and waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<bool>,
}

/// Newest root of a project's releases. Vouches for nothing: the device fetches the root and verifies it by the one that it
/// trusts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewestRoot {
    /// Version of the root.
    pub version: u64,
}

/// Settings of one device, kept in the cloud for its firmware to read. The cloud's settings replace those of
/// the device, whatever the version.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeviceConfig {
    /// Number of the change; grows from 1 on.
    pub version: u64,
    /// JSON object of at most [`limits::MAX_CONFIG_BYTES`], as it was set.
    pub values: Box<RawValue>,
}

impl PartialEq for DeviceConfig {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version && self.values.get() == other.values.get()
    }
}

impl Eq for DeviceConfig {}

/// [`Directive`](crate::release::Directive) in its signed form.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SignedDirective {
    /// Signed document of at most [`MAX_DIRECTIVE_BYTES`](crate::release::MAX_DIRECTIVE_BYTES), byte for
    /// byte.
    pub document: Box<RawValue>,
}

impl PartialEq for SignedDirective {
    fn eq(&self, other: &Self) -> bool {
        self.document.get() == other.document.get()
    }
}

impl Eq for SignedDirective {}

/// [`DeveloperOrder`](crate::release::DeveloperOrder) in its signed form, with the script that it names.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SignedOrder {
    /// Signed document of at most [`MAX_ORDER_BYTES`](crate::release::MAX_ORDER_BYTES), byte for byte.
    pub document: Box<RawValue>,
    /// Script as a component of at most [`MAX_ORDER_SCRIPT_BYTES`](crate::release::MAX_ORDER_SCRIPT_BYTES), in
    /// base64; none when the order runs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
}

impl SignedOrder {
    /// Returns an order with its script.
    #[must_use]
    pub fn new(document: Box<RawValue>, script: Option<&[u8]>) -> Self {
        Self {
            document,
            script: script.map(|bytes| STANDARD.encode(bytes)),
        }
    }

    /// Returns the bytes of the script; none if the order came without one.
    ///
    /// # Errors
    /// The text is too long or not base64.
    pub fn script(&self) -> Result<Option<Vec<u8>>, String> {
        let Some(text) = &self.script else { return Ok(None) };
        if text.len() > MAX_ORDER_SCRIPT_BYTES.div_ceil(3) * 4 {
            return Err(format!("script: more than {MAX_ORDER_SCRIPT_BYTES} bytes"));
        }
        let bytes = STANDARD
            .decode(text)
            .map_err(|error| format!("script: {error}"))?;
        Ok(Some(bytes))
    }
}

impl PartialEq for SignedOrder {
    fn eq(&self, other: &Self) -> bool {
        self.document.get() == other.document.get() && self.script == other.script
    }
}

impl Eq for SignedOrder {}

/// Position of a stream in the cloud: every number up to `upto` is stored, refused or a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamPosition {
    /// The stream.
    pub stream: StreamId,
    /// Highest contiguous sequence number; 0 before the first.
    pub upto: u64,
}

/// Cumulative acknowledgement of a stream: see [`StreamPosition`].
pub type Ack = StreamPosition;

/// Record that will never be stored; the device moves it to its dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refuse {
    /// The stream.
    pub stream: StreamId,
    /// Sequence number of the record.
    pub seq: u64,
    /// Reason for people; names the field.
    pub reason: String,
}

/// Command for the firmware.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Command {
    /// Id of the command; the device runs each id once.
    pub id: CommandId,
    /// Name of the handler: the message definition's type.
    pub cmd_type: String,
    /// Options as a JSON object, without the type's prefix.
    pub values: Box<RawValue>,
    /// Longest wait between the command's arrival and its start, in milliseconds. Relative, since a board may
    /// have no clock.
    pub ttl_ms: u64,
}

/// Withdraws a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// Id of the command.
    pub id: CommandId,
}
