//! Commands to devices: checked against their definition, stored before they are promised, dispatched at once.

use std::sync::Arc;
use std::time::Instant;

use iottly_protocol::{Cancel, CommandId, Down};
use serde_json::{Map, Value};
use tokio::sync::broadcast;

use crate::broker::Broker;
use crate::metrics::Metrics;
use crate::model::{CommandRecord, CommandStatus, Idempotency, NewCommand, Scope, UnixMs};
use crate::store::{Store, StoreError, Submitted};

mod seeded;
mod validate;
mod wait;

pub use seeded::seeded_definitions;
pub use validate::{InvalidCommand, validate};

/// How long a command is worth running unless its sender says otherwise: 24 hours, in milliseconds.
pub const DEFAULT_TTL_MS: i64 = 24 * 60 * 60 * 1000;
/// Longest time to live a sender may ask for: 30 days, in milliseconds.
pub const MAX_TTL_MS: i64 = 30 * DEFAULT_TTL_MS;
/// Longest encoded values of a command, bytes.
pub const MAX_VALUES_BYTES: usize = 64 << 10;
/// Most commands that wait for one device.
pub const MAX_OPEN_COMMANDS: usize = 1000;

/// Reports that a slow waiter may fall behind; beyond, it asks the store.
const REPORTS: usize = 256;

/// What a sender asks for.
#[derive(Debug, Clone)]
pub struct CommandRequest {
    /// The definition's type.
    pub cmd_type: String,
    /// The options, each key prefixed with `<cmd_type>.`.
    pub values: Map<String, Value>,
    /// How long the command is worth running, milliseconds, 1 to 30 days; none for 24 hours.
    pub ttl_ms: Option<i64>,
}

/// Why a command was not accepted. Everything but `Store` is the sender's to mend.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The project has no such device.
    #[error("device is unknown in this project")]
    UnknownDevice,
    /// The project has no such definition.
    #[error("cmd_type {0:?} is not defined in this project")]
    UnknownType(String),
    /// The values do not fit the definition.
    #[error(transparent)]
    Invalid(#[from] InvalidCommand),
    /// The time to live is out of range.
    #[error("ttl_ms must be between 1 and {MAX_TTL_MS}")]
    Ttl,
    /// Too many commands wait for the device.
    #[error("{MAX_OPEN_COMMANDS} commands wait for this device already")]
    TooManyOpen,
    /// The sender's key was used for another request.
    #[error("idempotency key was used for another request")]
    OtherRequest,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Accepts commands and brings them to the devices.
pub struct CommandService {
    store: Arc<dyn Store>,
    broker: Arc<dyn Broker>,
    metrics: Arc<Metrics>,
    reports: broadcast::Sender<CommandId>,
}

impl CommandService {
    /// A service over a store and a broker.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, broker: Arc<dyn Broker>, metrics: Arc<Metrics>) -> Self {
        Self { store, broker, metrics, reports: broadcast::Sender::new(REPORTS) }
    }

    /// Accepts a command: when this returns it is stored durably, and handed to the device's connection if there is one.
    ///
    /// # Errors
    /// When the request does not fit, too much waits for the device, or the store fails.
    pub async fn submit(&self, scope: Scope, request: &CommandRequest, now: UnixMs) -> Result<CommandRecord, SubmitError> {
        self.submit_once(scope, request, None, now).await
    }

    /// Accepts a command as [`submit`](Self::submit) does; a repetition of a request with the same key gets the command of the first.
    ///
    /// # Errors
    /// As `submit`, and when the key was used for another request.
    pub async fn submit_once(
        &self,
        scope: Scope,
        request: &CommandRequest,
        key: Option<&Idempotency>,
        now: UnixMs,
    ) -> Result<CommandRecord, SubmitError> {
        let definition = self.store.definition(scope.project, &request.cmd_type).await?;
        let definition = definition.ok_or_else(|| SubmitError::UnknownType(clip_name(&request.cmd_type)))?;
        let values = validate(&definition, &request.values)?;
        let ttl = request.ttl_ms.unwrap_or(DEFAULT_TTL_MS);
        if !(1..=MAX_TTL_MS).contains(&ttl) {
            return Err(SubmitError::Ttl);
        }
        if self.store.device(scope).await?.is_none() {
            return Err(SubmitError::UnknownDevice);
        }
        if self.store.open_commands(scope).await?.len() >= MAX_OPEN_COMMANDS {
            return Err(SubmitError::TooManyOpen);
        }
        let command = NewCommand {
            id: CommandId::random(),
            scope,
            cmd_type: request.cmd_type.clone(),
            values,
            created: now,
            expires: now.saturating_add(ttl),
        };
        match self.store.create_command(&command, key).await? {
            Submitted::New => self.metrics.command_accepted(command.id, Instant::now()),
            Submitted::Earlier(record) => return Ok(*record),
            Submitted::OtherRequest => return Err(SubmitError::OtherRequest),
        }
        let mut record = CommandRecord {
            id: command.id,
            scope,
            cmd_type: command.cmd_type,
            values: command.values,
            status: CommandStatus::Queued,
            detail: None,
            created: now,
            expires: command.expires,
            changed: now,
            sent: None,
            delivered: None,
            cancelling: false,
        };
        if self.broker.is_connected(scope.device).await && self.dispatch(&record, now).await? {
            (record.status, record.sent) = (CommandStatus::Sent, Some(now));
        }
        Ok(record)
    }

    /// Withdraws a command; returns what it is now, none when the device has no such command.
    ///
    /// One that is out is withdrawn when the device says so, or when it comes back without having reported it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn cancel(&self, scope: Scope, id: CommandId, now: UnixMs) -> Result<Option<CommandRecord>, StoreError> {
        let Some(record) = self.store.cancel_command(scope, id, now).await? else { return Ok(None) };
        if record.cancelling || record.status == CommandStatus::Cancelled {
            self.send_cancel(scope, id).await;
        }
        self.reported(id);
        Ok(Some(record))
    }

    async fn send_cancel(&self, scope: Scope, id: CommandId) -> bool {
        let sent = self.broker.publish(scope.device, Down::Cancel(Cancel { id }).encode().into()).await;
        if let Err(error) = &sent {
            tracing::debug!(command = %id, %error, "cancellation waits for the next connection");
        }
        sent.is_ok()
    }

    /// Sends every open command of a device again; the device runs each id once. Called after a hello.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn resend(&self, scope: Scope, now: UnixMs) -> Result<(), StoreError> {
        for command in self.store.open_commands(scope).await? {
            if !command.cancelling {
                self.dispatch(&command, now).await?;
            } else if self.send_cancel(scope, command.id).await && command.status == CommandStatus::Sent {
                self.store.withdraw_command(scope, command.id, now).await?;
                self.reported(command.id);
            }
        }
        Ok(())
    }

    /// Hands a command with its remaining time to live to the broker; false when it cannot be handed over now.
    async fn dispatch(&self, command: &CommandRecord, now: UnixMs) -> Result<bool, StoreError> {
        let Ok(ttl_ms @ 1..) = u64::try_from(command.expires.saturating_sub(now)) else { return Ok(false) };
        let wire = iottly_protocol::Command {
            id: command.id,
            cmd_type: command.cmd_type.clone(),
            values: command.values.clone(),
            ttl_ms,
        };
        if let Err(error) = self.broker.publish(command.scope.device, Down::Command(wire).encode().into()).await {
            tracing::debug!(command = %command.id, %error, "command waits for the next connection");
            return Ok(false);
        }
        self.store.mark_sent(command.scope, command.id, now).await?;
        Ok(true)
    }
}

fn clip_name(name: &str) -> String {
    iottly_protocol::limits::clip(name, 64).to_owned()
}
