//! Commands to devices: checked against their definition, stored before they are promised, dispatched at
//! once.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use iottly_protocol::{Cancel, CommandId, Down};
use serde_json::{Map, Value};
use tokio::sync::broadcast;

use crate::broker::Broker;
use crate::metrics::Metrics;
use crate::model::{CommandRecord, CommandStatus, Definition, Idempotency, NewCommand, Scope, UnixMs};
use crate::steady::Steady;
use crate::store::{CommandRoom, Store, StoreError, Submitted};

mod resend;
mod seeded;
mod totals;
mod validate;
mod wait;

pub use iottly_protocol::limits::MAX_VALUES_BYTES;
pub use seeded::seeded_definitions;
pub use validate::{InvalidCommand, validate};

/// How long a command is worth running unless its sender says otherwise: 24 hours, in milliseconds.
pub const DEFAULT_TTL_MS: i64 = 24 * 60 * 60 * 1000;
/// Longest time to live a sender may ask for: 30 days, in milliseconds.
pub const MAX_TTL_MS: i64 = 30 * DEFAULT_TTL_MS;
/// Most commands that wait for one device.
pub const MAX_OPEN_COMMANDS: u64 = 1000;
/// Most bytes of values in the commands that wait for one device.
pub const MAX_OPEN_BYTES: u64 = 4 << 20;
/// Most commands that wait for the devices of one project.
pub const MAX_PROJECT_COMMANDS: u64 = 100_000;
/// Most bytes of values in the commands that wait for the devices of one project.
pub const MAX_PROJECT_BYTES: u64 = 256 << 20;

/// What may wait for one device.
const ROOM: CommandRoom = CommandRoom {
    commands: MAX_OPEN_COMMANDS,
    bytes: MAX_OPEN_BYTES,
};

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
    #[error("{MAX_OPEN_COMMANDS} commands, or {} MiB of them, wait for this device already", MAX_OPEN_BYTES >> 20)]
    TooManyOpen,
    /// Too many commands wait for the devices of the project.
    #[error("{MAX_PROJECT_COMMANDS} commands, or {} MiB of them, wait for the devices of this project already", MAX_PROJECT_BYTES >> 20)]
    ProjectFull,
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
    time: Arc<Steady>,
    reports: broadcast::Sender<CommandId>,
    totals: totals::Totals,
    /// Date of the newest command. Each is dated later than the one before, so that their order is that of
    /// their requests.
    newest: AtomicI64,
    sending: resend::Sending,
}

impl CommandService {
    /// A service over a store and a broker.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        broker: Arc<dyn Broker>,
        metrics: Arc<Metrics>,
        time: Arc<Steady>,
    ) -> Self {
        let (reports, totals, newest) = (
            broadcast::Sender::new(REPORTS),
            totals::Totals::default(),
            AtomicI64::new(UnixMs::MIN),
        );
        Self {
            store,
            broker,
            metrics,
            time,
            reports,
            totals,
            newest,
            sending: resend::Sending::default(),
        }
    }

    /// Accepts a command: when this returns it is stored durably, and handed to the device's connection if
    /// there is one.
    ///
    /// # Errors
    /// When the request does not fit, too much waits for the device, or the store fails.
    pub async fn submit(
        &self,
        scope: Scope,
        request: &CommandRequest,
        now: UnixMs,
    ) -> Result<CommandRecord, SubmitError> {
        self.submit_once(scope, request, None, now).await
    }

    /// Accepts a command as [`submit`](Self::submit) does; a repetition of a request with the same key gets
    /// the command of the first.
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
        // A repetition is answered as the first request was, whatever has changed since.
        if let Some(key) = key
            && let Some(earlier) = self.store.submitted(scope, key).await?
        {
            return earlier_record(earlier);
        }
        let definition = self.definition(scope, &request.cmd_type).await?;
        let values = validate(&definition, &request.values)?;
        let ttl = request.ttl_ms.unwrap_or(DEFAULT_TTL_MS);
        if !(1..=MAX_TTL_MS).contains(&ttl) {
            return Err(SubmitError::Ttl);
        }
        if self.store.device(scope).await?.is_none() {
            return Err(SubmitError::UnknownDevice);
        }
        if !self
            .totals
            .take(self.store.as_ref(), scope.project, values.get().len() as u64)
            .await?
        {
            return Err(SubmitError::ProjectFull);
        }
        let now = self.date(now);
        let command = NewCommand {
            id: CommandId::random(),
            scope,
            cmd_type: request.cmd_type.clone(),
            values,
            created: now,
            expires: self.time.deadline().saturating_add(ttl),
        };
        match self.store.create_command(&command, key, &ROOM).await? {
            Submitted::New => self.metrics.command_accepted(command.id, Instant::now()),
            other => return earlier_record(other),
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
        // Behind older ones that are on their way, it is sent in its turn.
        if !self.is_resending(scope.device)
            && self.broker.is_connected(scope.device).await
            && self.dispatch(&record).await?
        {
            (record.status, record.sent) = (CommandStatus::Sent, Some(now));
        }
        Ok(record)
    }

    /// Withdraws a command; returns what it is now, none when the device has no such command.
    ///
    /// One that is out is withdrawn when the device says so, or when it comes back without having reported
    /// it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn cancel(
        &self,
        scope: Scope,
        id: CommandId,
        now: UnixMs,
    ) -> Result<Option<CommandRecord>, StoreError> {
        let Some(record) = self.store.cancel_command(scope, id, now).await? else {
            return Ok(None);
        };
        if record.cancelling || record.status == CommandStatus::Cancelled {
            self.send_cancel(scope, id).await;
        }
        self.reported(id);
        Ok(Some(record))
    }

    async fn send_cancel(&self, scope: Scope, id: CommandId) -> bool {
        let sent = self
            .broker
            .publish(scope.device, Down::Cancel(Cancel { id }).encode().into())
            .await;
        if let Err(error) = &sent {
            tracing::debug!(command = %id, %error, "cancellation waits for the next connection");
        }
        sent.is_ok()
    }

    fn date(&self, now: UnixMs) -> UnixMs {
        let later = |newest: UnixMs| Some(now.max(newest.saturating_add(1)));
        let before = self
            .newest
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
        before.map_or(now, |newest| now.max(newest.saturating_add(1)))
    }

    async fn definition(&self, scope: Scope, cmd_type: &str) -> Result<Definition, SubmitError> {
        let unknown = || SubmitError::UnknownType(clip_name(cmd_type));
        // No definition has such a name, and not every database can be asked for it.
        if cmd_type.chars().any(char::is_control) {
            return Err(unknown());
        }
        self.store
            .definition(scope.project, cmd_type)
            .await?
            .ok_or_else(unknown)
    }

    /// Hands a command with its remaining time to live to the broker; false when it cannot be handed over
    /// now.
    async fn dispatch(&self, command: &CommandRecord) -> Result<bool, StoreError> {
        // Never more than a sender may ask for, also when the clock has stepped back since.
        let left = command
            .expires
            .saturating_sub(self.time.deadline())
            .min(MAX_TTL_MS);
        let Ok(ttl_ms @ 1..) = u64::try_from(left) else {
            return Ok(false);
        };
        let wire = iottly_protocol::Command {
            id: command.id,
            cmd_type: command.cmd_type.clone(),
            values: command.values.clone(),
            ttl_ms,
        };
        if let Err(error) = self
            .broker
            .publish(command.scope.device, Down::Command(wire).encode().into())
            .await
        {
            tracing::debug!(command = %command.id, %error, "command waits for the next connection");
            return Ok(false);
        }
        if command.status == CommandStatus::Queued {
            self.store
                .mark_sent(command.scope, command.id, self.time.wall())
                .await?;
        }
        Ok(true)
    }
}

fn earlier_record(submitted: Submitted) -> Result<CommandRecord, SubmitError> {
    match submitted {
        Submitted::Earlier(record) => Ok(*record),
        Submitted::NoRoom => Err(SubmitError::TooManyOpen),
        Submitted::OtherRequest | Submitted::New => Err(SubmitError::OtherRequest),
    }
}

fn clip_name(name: &str) -> String {
    iottly_protocol::limits::clip(name, 64).to_owned()
}
