//! Messages from a device to the cloud. Shapes only; nothing is decided here.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::envelope::{WIRE_VERSION, envelope};
use crate::{BootId, ConnId, DecodeError, StreamId, limits};

envelope! {
    ['de]
    /// Message from a device to the cloud, on `v1/{device}/up`.
    pub enum Up<'de> {
        /// First message of every connection.
        Hello(Hello) = "hello",
        /// Consecutive records of one stream.
        Batch(Batch<'de>) = "batch",
        /// Sequence numbers that will never arrive; sent before the first record after them.
        Gap(Gap) = "gap",
    }
}

impl<'a> Up<'a> {
    /// Decodes one publish from a device; records stay raw, so that a bad record does not affect the others.
    ///
    /// # Errors
    /// The bytes are over [`limits::MAX_PUBLISH_BYTES`], are not JSON, or are of another version or shape.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        if bytes.len() > limits::MAX_PUBLISH_BYTES {
            return Err(DecodeError::TooLarge {
                len: bytes.len(),
                max: limits::MAX_PUBLISH_BYTES,
            });
        }
        Ok(serde_json::from_slice(bytes)?)
    }
}

/// Introduction of a device's connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// Start of the agent process.
    pub boot: BootId,
    /// Connection, as in the device's [`Status`](crate::Status).
    pub conn: ConnId,
    /// Software versions on the device.
    pub versions: Versions,
    /// Names of optional features that the device supports, sorted.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// Highest directive counter the device has accepted; 0 before the first.
    #[serde(default)]
    pub directive_counter: u64,
    /// Hash of the board's serial number or machine id: 64 hex digits, by which the cloud tells copies of a disk apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware: Option<String>,
    /// Streams that the device holds, at most [`limits::MAX_STREAMS`].
    pub streams: Vec<StreamInfo>,
}

/// Software versions on a device, for people and for compatibility checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// Version of the agent.
    pub agent: String,
    /// Full version of the WebAssembly runtime.
    pub runtime: String,
    /// Version of the firmware interface: of the package `iottly:firmware`.
    pub firmware_abi: String,
}

/// Part of a stream that a device still holds: sequence numbers `oldest..next`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamInfo {
    /// The stream.
    pub stream: StreamId,
    /// Class of the stream.
    pub class: StreamClass,
    /// Lowest sequence number still held; equals `next` if none is.
    pub oldest: u64,
    /// Sequence number that the next record will get; 1 for a new stream.
    pub next: u64,
}

/// Content of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamClass {
    /// Messages of firmware and agent; they become history entries.
    History,
    /// Command results, reports and logs; outside the history.
    Control,
}

/// Consecutive records of one stream, the first of them numbered `first`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Batch<'a> {
    /// The stream.
    pub stream: StreamId,
    /// Sequence number of the first record.
    pub first: u64,
    /// Encoded [`Record`](crate::Record)s, at most [`limits::BATCH_RECORDS`].
    #[serde(borrow)]
    pub records: Vec<&'a RawValue>,
}

/// Sequence numbers `from..=to` of a stream, lost for a known reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The stream.
    pub stream: StreamId,
    /// First lost sequence number.
    pub from: u64,
    /// Last lost sequence number.
    pub to: u64,
    /// Reason of the loss.
    pub reason: GapReason,
}

/// Reason why sequence numbers never become history entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// Older than the stream's time to live.
    Ttl,
    /// Dropped to stay within the disk budget.
    Budget,
    /// The device's storage returned damaged data.
    Corruption,
    /// The cloud refused the record.
    Refused,
    /// Records that the device's queue should hold were not there at start.
    HeadMismatch,
    /// The cloud was restored from a backup older than the device's queue.
    Restore,
}

impl GapReason {
    /// Returns the reason's name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ttl => "ttl",
            Self::Budget => "budget",
            Self::Corruption => "corruption",
            Self::Refused => "refused",
            Self::HeadMismatch => "head_mismatch",
            Self::Restore => "restore",
        }
    }
}

/// Encodes the envelope of a batch from records that are encoded already.
///
/// The device's queue holds records as the bytes that are sent; this joins them without parsing them again.
#[must_use]
pub fn encode_batch<'r>(
    stream: StreamId,
    first: u64,
    records: impl IntoIterator<Item = &'r [u8]>,
) -> Vec<u8> {
    let mut out =
        format!(r#"{{"v":{WIRE_VERSION},"batch":{{"stream":"{stream}","first":{first},"records":["#)
            .into_bytes();
    for (index, record) in records.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(record);
    }
    out.extend_from_slice(b"]}}");
    out
}
