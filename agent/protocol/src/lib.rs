//! Messages between agent and cloud: ids, topics, envelopes and commands, and what is signed about releases.
//!
//! The crate does no I/O and reads no clock. Every shape here is a wire format: additions are append-only,
//! unknown fields are ignored, and `tests/it/golden.rs` holds the bytes of every message.
//!
//! The path of a message: a firmware's payload becomes a [`Record`], the device's queue gives it a sequence
//! number in a [`stream`](StreamId), a [`Batch`] carries it up, and after the cloud's [`Down::Ack`] the
//! device deletes it.

#![cfg_attr(not(test), warn(clippy::wildcard_enum_match_arm))]

pub mod board;
mod command;
pub mod command_name;
pub mod date;
mod down;
pub mod enroll;
mod envelope;
mod error;
pub mod health;
#[doc(hidden)]
pub mod id;
pub mod limits;
pub mod payload;
pub mod proxy;
mod record;
pub mod release;
mod secret;
mod status;
mod topic;
pub mod tuf;
mod up;

pub use command::{CommandResult, CommandState};
pub use down::{
    Ack, Cancel, Command, DeviceConfig, Down, Held, NewestRoot, Refuse, SignedDirective, SignedOrder,
    StreamCheck, StreamPosition, Welcome,
};
pub use envelope::WIRE_VERSION;
pub use error::DecodeError;
pub use id::{BootId, CommandId, ConnId, DeviceId, GroupId, IdError, ProjectId, StreamId};
pub use record::{
    ConfigReport, FirmwareMark, FirmwareReport, FirmwareState, Level, LogLine, Message, MessageKind, Record,
    Report, UpdateReport,
};
pub use secret::Secret;
pub use status::Status;
pub use topic::{Topic, TopicError};
pub use up::{Batch, Gap, GapReason, Hello, StreamClass, StreamInfo, Up, Versions, encode_batch};
