//! Uploads of devices: their types, their decoding, and the state of a stream.

use iottly_protocol::release::DeviceFacts;
use iottly_protocol::{
    CommandId, CommandResult, ConfigReport, FirmwareReport, GapReason, LogLine, MessageKind, Refuse,
    StreamClass, StreamId, UpdateReport,
};
use serde_json::value::RawValue;

use crate::model::{Scope, StoredMessage, UnixMs};

pub mod decode;
pub mod stream;

/// Records or a gap of one stream, decoded and validated, ready for a transaction.
#[derive(Debug, Clone)]
pub struct Upload {
    /// The sender.
    pub scope: Scope,
    /// The stream.
    pub stream: StreamId,
    /// When the cloud received it.
    pub received: UnixMs,
    /// What it carries.
    pub body: UploadBody,
}

/// Something that a device causes and that the ingest commits, together with what others cause.
#[derive(Debug, Clone)]
pub enum Write {
    /// Records, a gap or an announcement of a stream.
    Upload(Upload),
    /// What a connection says of its device.
    Device {
        /// The device.
        scope: Scope,
        /// When the cloud received it.
        at: UnixMs,
        /// Whether the device counts as online from now on; none to leave it as it is. A change is an entry
        /// in the history.
        online: Option<bool>,
        /// Version of the device's agent; none to leave it as it is.
        agent_version: Option<String>,
    },
    /// An entry of the cloud's own in the device's history.
    Notice {
        /// The device.
        scope: Scope,
        /// When it is written.
        at: UnixMs,
        /// What it says.
        payload: Box<RawValue>,
    },
}

impl Write {
    /// Returns the device that causes it.
    #[must_use]
    pub const fn scope(&self) -> Scope {
        match self {
            Self::Upload(Upload { scope, .. }) | Self::Device { scope, .. } | Self::Notice { scope, .. } => {
                *scope
            }
        }
    }

    /// Returns the time at which the cloud received its cause.
    #[must_use]
    pub const fn at(&self) -> UnixMs {
        match self {
            Self::Upload(Upload { received: at, .. }) | Self::Device { at, .. } | Self::Notice { at, .. } => {
                *at
            }
        }
    }
}

/// What an [`Upload`] carries.
#[derive(Debug, Clone)]
pub enum UploadBody {
    /// Consecutive records; the first has number `first`. An `Err` holds the reason of a refusal.
    Records {
        /// Number of the first.
        first: u64,
        /// The records.
        records: Vec<std::result::Result<Entry, String>>,
    },
    /// Numbers that will never arrive.
    Gap {
        /// First lost number.
        from: u64,
        /// Last lost number.
        to: u64,
        /// Why.
        reason: GapReason,
    },
    /// The device's hello: what it holds of the stream. Mends both kinds of restore (DESIGN §4).
    Announce {
        /// What the stream carries.
        class: StreamClass,
        /// Lowest number still held.
        oldest: u64,
        /// Number the next record will get.
        next: u64,
    },
}

/// A validated record, owned.
#[derive(Debug, Clone)]
pub enum Entry {
    /// Becomes a history entry.
    Message {
        /// Firmware or agent.
        kind: MessageKind,
        /// Device time.
        at: UnixMs,
        /// Name it was filed under.
        channel: Option<String>,
        /// JSON text as sent.
        payload: Box<RawValue>,
    },
    /// Advances a command.
    Result(CommandResult),
    /// Becomes the device's firmware state.
    Firmware(FirmwareReport),
    /// Says which settings the device has taken.
    Config(ConfigReport),
    /// Says where an update is.
    Update(UpdateReport),
    /// Says what decides on releases there.
    Facts(Box<DeviceFacts>),
    /// Becomes a line of the device's log.
    Log(LogLine),
}

/// What a transaction made of a [`Write`].
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Whether it was left alone because the project has no room for the entries that it would cause: nothing
    /// of it is stored, and the device keeps it.
    pub left: bool,
    /// Highest contiguous number now present.
    pub upto: u64,
    /// The highest number with a record that is remembered, and the record's fingerprint.
    pub newest: Option<(u64, u32)>,
    /// History entries that are new: duplicates are not in it.
    pub stored: Vec<StoredMessage>,
    /// Records refused for good.
    pub refused: Vec<Refuse>,
    /// Commands that the device reported about.
    pub results: Vec<CommandId>,
    /// Whether the device reported the end of an update.
    pub updated: bool,
}
