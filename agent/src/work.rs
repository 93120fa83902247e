//! Commands between the inbox and the firmware's thread: the handler to call, its outcome, and the firmware's
//! availability. Holds no state.

use iottly_protocol::CommandId;
use serde_json::value::RawValue;

/// A handler to call.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) id: CommandId,
    pub(crate) cmd_type: String,
    pub(crate) values: Box<RawValue>,
}

/// Result of a handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The handler returned.
    Done,
    /// The handler failed, with the reason.
    Failed(String),
}

/// Availability of the firmware for commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GuestState {
    /// The firmware runs; handlers can be called.
    Ready,
    /// The firmware is about to run; commands wait.
    Pending,
    /// No firmware runs, with the reason; commands fail.
    Absent(String),
}

/// Event that the firmware's thread reports to the inbox.
#[derive(Debug)]
pub(crate) enum GuestEvent {
    /// The firmware's availability has changed.
    State(GuestState),
    /// A handler has ended.
    Finished(CommandId, Outcome),
}
