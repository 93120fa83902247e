//! Outcome of a command as the device reports it. Holds no rules about transitions beyond which states are
//! final.

use serde::{Deserialize, Serialize};

use crate::CommandId;

/// Outcome of a command on the device; sent in the control stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandResult {
    /// Id of the command.
    pub id: CommandId,
    /// Progress of the command.
    pub state: CommandState,
    /// Reason of a failure, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Device time, unix milliseconds.
    pub at_ms: u64,
}

/// Progress of a command on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandState {
    /// Journaled on the device; it will run or be reported.
    Delivered,
    /// The handler returned.
    Done,
    /// The handler failed, or there is none.
    Failed,
    /// The command's time to live passed before the handler could start.
    Expired,
    /// The device stopped between the handler's start and its end; it is not run again.
    Interrupted,
    /// A cancel arrived before the handler started.
    Cancelled,
}

impl CommandState {
    /// Returns true if nothing can follow this state.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Delivered)
    }

    /// Returns the state's name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Interrupted => "interrupted",
            Self::Cancelled => "cancelled",
        }
    }
}
