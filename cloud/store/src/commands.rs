//! Commands and their idempotency keys. Reports of devices about commands arrive through
//! [`IngestStore`](crate::IngestStore).

use async_trait::async_trait;
use iottly_protocol::{CommandId, ProjectId};

use crate::error::Result;
use iottly_core::model::{CommandRecord, CommandStatus, Idempotency, NewCommand, Scope, UnixMs};

/// Query for commands of a device, newest first.
#[derive(Debug, Clone, Copy, Default)]
pub struct CommandQuery {
    /// Status of the commands to return; none for all.
    pub status: Option<CommandStatus>,
    /// Creation time and id of a command; only older ones are returned.
    pub before: Option<(UnixMs, CommandId)>,
    /// Maximum number of commands.
    pub limit: usize,
}

/// Result of storing a command.
#[derive(Debug, Clone)]
pub enum Submitted {
    /// The command was stored.
    New,
    /// A request with the same key had stored this command; nothing new was stored.
    Earlier(Box<CommandRecord>),
    /// The key belongs to a different request; nothing was stored.
    OtherRequest,
    /// Too many commands, or too many bytes of them, wait for the device; nothing was stored.
    NoRoom,
}

/// Maximum number of commands in one page of a device's open commands.
pub const PAGE_COMMANDS: usize = 64;

/// Limits for the open commands of one device, including the one to add.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandRoom {
    /// Maximum number of commands without a final status.
    pub commands: u64,
    /// Maximum bytes of their values.
    pub bytes: u64,
}

/// Totals of commands without a final status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenTotals {
    /// Number of commands.
    pub commands: u64,
    /// Bytes of their values.
    pub bytes: u64,
}

/// Store operations for commands and their idempotency keys.
#[async_trait]
pub trait CommandStore: Send + Sync + 'static {
    /// Stores a command as queued, unless too much waits for its device. Requests with the same key store it
    /// once.
    async fn create_command(
        &self,
        command: &NewCommand,
        key: Option<&Idempotency>,
        room: &CommandRoom,
    ) -> Result<Submitted>;
    /// Returns the result of the earlier request with this key; none when there was none.
    async fn submitted(&self, scope: Scope, key: &Idempotency) -> Result<Option<Submitted>>;
    /// Returns the totals of open commands of a project's devices.
    async fn open_totals(&self, project: ProjectId) -> Result<OpenTotals>;
    /// Deletes the keys of requests before `before`. Returns their number.
    async fn forget_keys(&self, before: UnixMs) -> Result<u64>;
    /// Returns commands of a device, newest first.
    async fn commands(&self, scope: Scope, query: &CommandQuery) -> Result<Vec<CommandRecord>>;
    /// Cancels a command: immediately if it was never sent, else it is marked as being cancelled. Returns its
    /// new state.
    async fn cancel_command(&self, scope: Scope, id: CommandId, now: UnixMs)
    -> Result<Option<CommandRecord>>;
    /// Sets a sent command that is being cancelled to cancelled, until the device reports otherwise. The
    /// cloud never sends it again, so it will not run unless the device has it already.
    async fn withdraw_command(&self, scope: Scope, id: CommandId, now: UnixMs) -> Result<()>;
    /// Returns one command.
    async fn command(&self, scope: Scope, id: CommandId) -> Result<Option<CommandRecord>>;
    /// Returns the commands of a device without a final status, oldest first.
    async fn open_commands(&self, scope: Scope) -> Result<Vec<CommandRecord>>;
    /// Returns the oldest commands of a device without a final status that follow `after`: as many as hold
    /// `bytes` of values, at least one if there is any, and at most 64.
    async fn open_page(
        &self,
        scope: Scope,
        after: Option<(UnixMs, CommandId)>,
        bytes: usize,
    ) -> Result<Vec<CommandRecord>>;
    /// Marks a queued command as sent; does nothing for any other status.
    async fn mark_sent(&self, scope: Scope, id: CommandId, now: UnixMs) -> Result<()>;
    /// Expires the commands whose time passed before the device journaled them. Returns their number.
    async fn expire_commands(&self, now: UnixMs) -> Result<u64>;
}
