//! Commands to devices: checked against their definition, stored before they are accepted, and sent
//! immediately if the device is connected.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use iottly_protocol::{Cancel, CommandId, Down};
use serde_json::{Map, Value};
use tokio::sync::broadcast;

use crate::broker::Broker;
use crate::guarded_clock::GuardedClock;
use crate::live::{LiveHub, Parts};
use crate::metrics::Metrics;
use iottly_core::command::{
    DEFAULT_TTL_MS, InvalidCommand, MAX_OPEN_BYTES, MAX_OPEN_COMMANDS, MAX_PROJECT_BYTES,
    MAX_PROJECT_COMMANDS, MAX_TTL_MS, validate,
};
use iottly_core::model::{CommandRecord, CommandStatus, Definition, Idempotency, NewCommand, Scope, UnixMs};
use iottly_store::{CodeStore, CommandRoom, CommandStore, DeviceStore, Store, StoreError, Submitted};

mod resend;
mod totals;
mod wait;

/// Limits of the commands that wait for one device.
const ROOM: CommandRoom = CommandRoom {
    commands: MAX_OPEN_COMMANDS,
    bytes: MAX_OPEN_BYTES,
};

/// Number of reports by which a slow waiter may lag; above, it queries the store.
const REPORTS: usize = 256;

/// Request to send a command.
#[derive(Debug, Clone)]
pub struct CommandRequest {
    /// Type of the definition.
    pub cmd_type: String,
    /// Options, each key prefixed with `<cmd_type>.`.
    pub values: Map<String, Value>,
    /// Time to live in milliseconds, 1 to [`MAX_TTL_MS`]; none for 24 hours.
    pub ttl_ms: Option<i64>,
}

/// Reason for which a command was not accepted. All but `Store` are errors of the caller.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The project has no such device.
    #[error("device is unknown in this project")]
    UnknownDevice,
    /// The project has no such definition.
    #[error("cmd_type {0:?} is not defined in this project")]
    UnknownType(String),
    /// The values do not match the definition.
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
    /// The caller's key was used for another request.
    #[error("idempotency key was used for another request")]
    OtherRequest,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Service that accepts commands and sends them to devices.
pub struct CommandService {
    commands: Arc<dyn CommandStore>,
    devices: Arc<dyn DeviceStore>,
    code: Arc<dyn CodeStore>,
    broker: Arc<dyn Broker>,
    live: Arc<LiveHub>,
    metrics: Arc<Metrics>,
    time: Arc<GuardedClock>,
    reports: broadcast::Sender<CommandId>,
    totals: totals::Totals,
    /// Date of the newest command. Each command is dated later than the one before, so that their order is
    /// that of their requests.
    newest: AtomicI64,
    sending: resend::Sending,
}

impl CommandService {
    /// Creates the service over a store and a broker.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        broker: Arc<dyn Broker>,
        live: Arc<LiveHub>,
        metrics: Arc<Metrics>,
        time: Arc<GuardedClock>,
    ) -> Self {
        let (reports, totals, newest) = (
            broadcast::Sender::new(REPORTS),
            totals::Totals::default(),
            AtomicI64::new(UnixMs::MIN),
        );
        Self {
            commands: store.clone(),
            devices: store.clone(),
            code: store,
            broker,
            live,
            metrics,
            time,
            reports,
            totals,
            newest,
            sending: resend::Sending::default(),
        }
    }

    /// Accepts a command: when this returns, the command is stored durably, and sent to the device's
    /// connection if there is one.
    ///
    /// # Errors
    /// If the request is invalid, too much waits for the device, or the store fails.
    pub async fn submit(
        &self,
        scope: Scope,
        request: &CommandRequest,
        now: UnixMs,
    ) -> Result<CommandRecord, SubmitError> {
        self.submit_once(scope, request, None, now).await
    }

    /// Accepts a command like [`submit`](Self::submit); a repetition of a request with the same key returns
    /// the command of the first.
    ///
    /// # Errors
    /// As `submit`, and if the key was used for another request.
    pub async fn submit_once(
        &self,
        scope: Scope,
        request: &CommandRequest,
        key: Option<&Idempotency>,
        now: UnixMs,
    ) -> Result<CommandRecord, SubmitError> {
        // A repetition gets the answer of the first request, regardless of later changes.
        if let Some(key) = key
            && let Some(earlier) = self.commands.submitted(scope, key).await?
        {
            return earlier_record(earlier);
        }
        let definition = self.definition(scope, &request.cmd_type).await?;
        let values = validate(&definition, &request.values)?;
        let ttl = request.ttl_ms.unwrap_or(DEFAULT_TTL_MS);
        if !(1..=MAX_TTL_MS).contains(&ttl) {
            return Err(SubmitError::Ttl);
        }
        if self.devices.device(scope).await?.is_none() {
            return Err(SubmitError::UnknownDevice);
        }
        if !self
            .totals
            .take(self.commands.as_ref(), scope.project, values.get().len() as u64)
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
        match self.commands.create_command(&command, key, &ROOM).await? {
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
        // While older commands are being sent, the resend sends this one in its turn.
        if !self.is_resending(scope.device)
            && self.broker.is_connected(scope.device).await
            && self.dispatch(&record).await?
        {
            (record.status, record.sent) = (CommandStatus::Sent, Some(now));
        }
        self.tell(scope);
        Ok(record)
    }

    /// Cancels a command. Returns its new state; none if the device has no such command.
    ///
    /// A command that was sent is cancelled when the device reports so, or when the device reconnects without
    /// having reported it.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn cancel(
        &self,
        scope: Scope,
        id: CommandId,
        now: UnixMs,
    ) -> Result<Option<CommandRecord>, StoreError> {
        let Some(record) = self.commands.cancel_command(scope, id, now).await? else {
            return Ok(None);
        };
        if record.cancelling || record.status == CommandStatus::Cancelled {
            self.send_cancel(scope, id).await;
        }
        self.reported(id);
        self.tell(scope);
        Ok(Some(record))
    }

    async fn send_cancel(&self, scope: Scope, id: CommandId) -> bool {
        let sent = self
            .broker
            .publish(scope.device, Down::Cancel(Cancel { id }).encode().into())
            .await;
        if let Err(error) = &sent {
            tracing::debug!(command.id = %id, %error, "failed to send a cancellation; it waits for the next connection");
        }
        sent.is_ok()
    }

    /// Notifies pages that commands of a device have changed.
    fn tell(&self, scope: Scope) {
        self.live
            .changed(scope.project, Some(scope.device), Parts::COMMAND);
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
        // No definition has such a name, and not every database can search for it.
        if cmd_type.chars().any(char::is_control) {
            return Err(unknown());
        }
        self.code
            .definition(scope.project, cmd_type)
            .await?
            .ok_or_else(unknown)
    }

    /// Sends a command with its remaining time to live to the broker. Returns false if that is not possible
    /// now.
    async fn dispatch(&self, command: &CommandRecord) -> Result<bool, StoreError> {
        // At most what a caller may request, even if the clock was set back since.
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
            tracing::debug!(command.id = %command.id, %error, "failed to send a command; it waits for the next connection");
            return Ok(false);
        }
        if command.status == CommandStatus::Queued {
            self.commands
                .mark_sent(command.scope, command.id, self.time.wall())
                .await?;
            self.tell(command.scope);
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
