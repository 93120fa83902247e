//! Uploads of devices: their types, their decoding, and the state of a stream.

use iottly_protocol::release::{DeveloperReport, DeviceFacts};
use iottly_protocol::{
    CommandId, CommandResult, ConfigReport, FirmwareMark, FirmwareReport, GapReason, LogLine, MessageKind,
    Refuse, StreamClass, StreamId, UpdateReport,
};
use serde_json::value::RawValue;

use crate::model::{Proof, Scope, StoredMessage, UnixMs};

pub mod decode;
pub mod stream;

/// Records or a gap of one stream, decoded, validated and ready for a transaction.
#[derive(Debug, Clone)]
pub struct Upload {
    /// Device that sent the upload.
    pub scope: Scope,
    /// Stream of the records.
    pub stream: StreamId,
    /// Time at which the cloud received the upload.
    pub received: UnixMs,
    /// Contents of the upload.
    pub body: UploadBody,
}

/// A change caused by a device, which the ingest commits in a group with others.
#[derive(Debug, Clone)]
pub enum Write {
    /// Records, a gap or an announcement of a stream.
    Upload(Upload),
    /// State of the device, as reported by its connection.
    Device {
        /// Device that reported.
        scope: Scope,
        /// Time at which the cloud received the report.
        at: UnixMs,
        /// True if the device is online from now on; none to leave the state unchanged. A change adds an
        /// entry to the history.
        online: Option<bool>,
        /// Last packet of the device; none to leave the stored one.
        proof: Option<Proof>,
        /// Version of the device's agent; none to leave it unchanged.
        agent_version: Option<String>,
    },
    /// An entry written by the cloud into the device's history.
    Notice {
        /// Device whose history gets the entry.
        scope: Scope,
        /// Time of the entry.
        at: UnixMs,
        /// Payload of the entry.
        payload: Box<RawValue>,
    },
}

impl Write {
    /// Returns the device that causes the write.
    #[must_use]
    pub const fn scope(&self) -> Scope {
        match self {
            Self::Upload(Upload { scope, .. }) | Self::Device { scope, .. } | Self::Notice { scope, .. } => {
                *scope
            }
        }
    }

    /// Returns the time at which the cloud received the cause of the write.
    #[must_use]
    pub const fn at(&self) -> UnixMs {
        match self {
            Self::Upload(Upload { received: at, .. }) | Self::Device { at, .. } | Self::Notice { at, .. } => {
                *at
            }
        }
    }
}

/// Contents of an [`Upload`].
#[derive(Debug, Clone)]
pub enum UploadBody {
    /// Consecutive records. An `Err` holds the reason of a refusal.
    Records {
        /// Number of the first record.
        first: u64,
        /// Records, in the order of their numbers.
        records: Vec<std::result::Result<Entry, String>>,
    },
    /// Sequence numbers that will never arrive.
    Gap {
        /// First lost number.
        from: u64,
        /// Last lost number.
        to: u64,
        /// Reason of the loss.
        reason: GapReason,
    },
    /// Range of the stream that the device holds, from its hello. Adapts the stream's position after the
    /// device or the cloud was restored from a backup.
    Announce {
        /// Class of the stream.
        class: StreamClass,
        /// Lowest number that the device still holds.
        oldest: u64,
        /// Number of the device's next record.
        next: u64,
    },
}

/// A validated record, owned.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A message, which becomes a history entry.
    Message {
        /// Origin of the message: firmware or agent.
        kind: MessageKind,
        /// Time at which the device made the message, by the device's clock.
        at: UnixMs,
        /// Channel that the firmware chose.
        channel: Option<String>,
        /// JSON text as sent.
        payload: Box<RawValue>,
        /// Firmware that made the message, if it was not the committed release.
        firmware: Option<FirmwareMark>,
    },
    /// A result of a command; advances the command.
    Result(CommandResult),
    /// The device's new firmware state.
    Firmware(FirmwareReport),
    /// An acknowledgement of settings.
    Settings(ConfigReport),
    /// The state of an update.
    Update(UpdateReport),
    /// Facts that decide which releases the device accepts.
    Facts(Box<DeviceFacts>),
    /// A line of the device's log.
    Log(LogLine),
    /// The device's answer to a developer order.
    Developer(Box<DeveloperReport>),
}

/// New control record that watchers of the device are shown.
#[derive(Debug, Clone)]
pub struct Observed {
    /// Device that sent the record.
    pub scope: Scope,
    /// Time at which the cloud received the record.
    pub received: UnixMs,
    /// Contents of the record.
    pub what: ObservedRecord,
}

/// Contents of an [`Observed`] record.
#[derive(Debug, Clone)]
pub enum ObservedRecord {
    /// Line of the device's log.
    Log(LogLine),
    /// Answer to a developer order.
    Developer(Box<DeveloperReport>),
}

/// Outcome of committing a [`Write`].
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// True if the write was not applied because the project has no room for the entries it would cause:
    /// nothing of it is stored, and the device keeps it.
    pub left: bool,
    /// Highest contiguous number that is accounted for.
    pub upto: u64,
    /// Highest number whose record is remembered, and the record's fingerprint.
    pub newest: Option<(u64, u32)>,
    /// New history entries, without duplicates.
    pub stored: Vec<StoredMessage>,
    /// Permanently refused records.
    pub refused: Vec<Refuse>,
    /// Commands that the device reported about.
    pub results: Vec<CommandId>,
    /// New log lines and answers to developer orders, for watchers.
    pub observed: Vec<Observed>,
    /// True if the device reported a state of an update.
    pub updated: bool,
    /// True if the device reported the end of an update.
    pub update_ended: bool,
}
