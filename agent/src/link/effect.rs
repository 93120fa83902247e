//! Effects that the link's state machine requests and the link's task performs.

use iottly_protocol::{Command, CommandId, ConnId, DeviceConfig, SignedDirective, StreamClass};

/// Something to do, in order.
#[derive(Debug)]
pub(super) enum Effect {
    /// Open a new connection under this id; an old one is to be dropped first.
    Connect(ConnId),
    /// Drop the connection.
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
    /// Let the queue forget records.
    Ack { class: StreamClass, upto: u64 },
    /// Keep a refused record aside.
    DeadLetter {
        class: StreamClass,
        seq: u64,
        reason: String,
    },
    /// Give the stream a new id.
    Remint(StreamClass),
    /// The cloud's time, unix milliseconds, in answer to a question that was asked so long ago.
    Time { cloud_ms: u64, asked_ms: u64 },
    /// Hand a command to the inbox.
    Command(Command),
    /// Withdraw a command from the inbox.
    Cancel(CommandId),
    /// Take these settings for the firmware.
    Config(DeviceConfig),
    /// Look at this directive.
    Directive(SignedDirective),
}
