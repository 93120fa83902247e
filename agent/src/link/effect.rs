//! Effects that the link's state machine requests and the link's task performs.

use iottly_protocol::board::BoardOrder;
use iottly_protocol::enroll::EnrollOffer;
use iottly_protocol::{Command, CommandId, ConnId, DeviceConfig, SignedDirective, SignedOrder, StreamClass};

/// Action for the link's task, in order.
#[derive(Debug)]
pub(super) enum Effect {
    /// Open a new connection with this id, dropping an old one first.
    Connect(ConnId),
    /// Drop the connection, for this reason.
    Drop(&'static str),
    /// Publish to the `up` topic.
    Publish(Vec<u8>),
    /// Read a page of the queue.
    Peek {
        class: StreamClass,
        from: u64,
        max_records: usize,
        max_bytes: usize,
    },
    /// Acknowledge records to the queue, which removes them.
    Ack { class: StreamClass, upto: u64 },
    /// Keep a copy of a refused record.
    DeadLetter {
        class: StreamClass,
        seq: u64,
        reason: String,
    },
    /// Give the stream a new id.
    Remint(StreamClass),
    /// Pass on the cloud's time in unix milliseconds; the question was asked `asked_ms` before the answer.
    Time { cloud_ms: u64, asked_ms: u64 },
    /// Note that the cloud takes reports about the device's health.
    TakesHealth,
    /// Pass on the cloud's offer to a device without a key.
    Offered(EnrollOffer),
    /// Hand a command to the inbox.
    Command(Command),
    /// Withdraw a command from the inbox.
    Cancel(CommandId),
    /// Apply these settings for the firmware.
    Config(DeviceConfig),
    /// Hand this directive to the update.
    Directive(SignedDirective),
    /// Hand this developer order to the update.
    Developer(SignedOrder),
    /// Tell the update of the newest root of releases.
    Root(u64),
    /// Hand this order to the view of the board.
    Board(BoardOrder),
    /// Note on the disk that another board was kept as the device.
    Leave,
}
