//! The store: the cloud's durable data behind one trait, on SQLite or PostgreSQL.
//!
//! Every write is committed (fsync included) when its future resolves. A query about a device takes a
//! [`Scope`], so that a query without a project does not type-check.

use std::collections::BTreeSet;

use async_trait::async_trait;
use iottly_protocol::{CommandId, DeviceId, GroupId, MessageKind, ProjectId, StreamId};
use serde_json::value::RawValue;

use iottly_core::ingest::{Outcome, Upload, Write};
use iottly_core::model::{
    AuditEntry, Branch, Change, Changed, CodeRoom, CommandRecord, CommandStatus, Cursor, Definition, Device,
    Group, HourUsage, Idempotency, KnownFacts, Limits, NewCommand, PairCode, Principal, Project, Revision,
    Rollout, RolloutId, RolloutMember, RolloutStep, Scope, SecretHash, SettingsState, Snippet, StoredLog,
    StoredMessage, StoredRelease, Token, TokenId, UnixMs, Usage,
};

mod backend;
mod backup;
mod fault;
mod pending_webhooks;
#[allow(
    clippy::duplicate_mod,
    reason = "the shared SQL is compiled once for each database, under its types"
)]
mod postgres;
#[allow(
    clippy::duplicate_mod,
    reason = "the shared SQL is compiled once for each database, under its types"
)]
mod sqlite;
mod transfer;
mod webhook_cache;
pub mod webhooks;

pub use backend::{Database, open};
pub use backup::{backup, restore};
pub use fault::Fault;
pub use pending_webhooks::PendingWebhooks;
pub use postgres::PostgresStore;
pub use sqlite::SqliteStore;
pub use webhooks::WebhookStore;

/// Error of a store operation.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// A row holds a value that this build cannot read.
    #[error("{table} holds an unreadable {field}: {reason}")]
    Corrupt {
        /// Table of the row.
        table: &'static str,
        /// Column of the value.
        field: &'static str,
        /// Description of the fault.
        reason: String,
    },
    /// A unique name or id is taken.
    #[error("{what} {name:?} exists already")]
    Exists {
        /// Kind of thing.
        what: &'static str,
        /// Name of the thing.
        name: String,
    },
    /// The project has no thing of this name.
    #[error("{what} {name:?} is unknown in this project")]
    Missing {
        /// Kind of thing.
        what: &'static str,
        /// Name or id of the thing.
        name: String,
    },
    /// The state of the thing does not allow the operation.
    #[error("{0}")]
    Refused(String),
    /// A limit is reached.
    #[error("{what} have reached their limit of {max}")]
    Full {
        /// Quantity that is limited.
        what: &'static str,
        /// Maximum of the quantity.
        max: i64,
    },
    /// A kind of change was made too often within an hour.
    #[error("{action} was done {max} times within an hour")]
    TooOften {
        /// Action, as the audit log names it.
        action: &'static str,
        /// Maximum number of times per hour.
        max: i64,
    },
}

/// Result of a store operation.
pub type Result<T> = std::result::Result<T, StoreError>;

/// A device to create.
#[derive(Debug, Clone)]
pub struct NewDevice {
    /// Project and id.
    pub scope: Scope,
    /// Name of the device.
    pub name: String,
    /// Group of the device.
    pub group: GroupId,
    /// Hash of the broker secret.
    pub secret: SecretHash,
}

/// Range of a device's history to scan.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScanBounds {
    /// Upper end, excluded: only entries strictly older than this one.
    pub before: Option<Cursor>,
    /// Minimum timestamp, included.
    pub from: Option<UnixMs>,
    /// Maximum timestamp, included.
    pub to: Option<UnixMs>,
}

/// Key and size of an entry of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntrySize {
    /// Key of the entry.
    pub cursor: Cursor,
    /// Size of the payload, in bytes.
    pub bytes: u64,
}

/// Query for a page of a history by its offset.
#[derive(Debug, Clone, Copy, Default)]
pub struct PageQuery {
    /// Kind of entries to return; none for all.
    pub kind: Option<MessageKind>,
    /// Minimum timestamp, included.
    pub from: Option<UnixMs>,
    /// Maximum timestamp, excluded.
    pub until: Option<UnixMs>,
    /// True for oldest first, false for newest first.
    pub ascending: bool,
    /// Number of entries to skip.
    pub offset: usize,
    /// Maximum number of entries.
    pub limit: usize,
}

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

/// The cloud's database.
#[async_trait]
pub trait Store: WebhookStore {
    /// Creates a project with its `_orphaned` group and the seeded definitions.
    async fn create_project(
        &self,
        project: &Project,
        orphaned: GroupId,
        definitions: &[Definition],
    ) -> Result<()>;
    /// Returns all projects, by name.
    async fn projects(&self) -> Result<Vec<Project>>;
    /// Returns one project.
    async fn project(&self, id: ProjectId) -> Result<Option<Project>>;

    /// Applies a change to a project and writes its audit entry, in one transaction.
    async fn change(
        &self,
        project: ProjectId,
        by: &Principal,
        change: Change,
        now: UnixMs,
    ) -> Result<Changed>;
    /// Returns entries of a project's audit log with numbers below `before`, newest first, at most `limit`.
    async fn audit(&self, project: ProjectId, before: Option<u64>, limit: usize) -> Result<Vec<AuditEntry>>;
    /// Returns the limits of a project; none if the project does not exist.
    async fn limits(&self, project: ProjectId) -> Result<Option<Limits>>;
    /// Returns the usage of a project.
    async fn usage(&self, project: ProjectId, now: UnixMs) -> Result<Usage>;
    /// Returns the hourly usage of a project: the hours whose messages are still stored, oldest first, at
    /// most 10,000.
    async fn hours(&self, project: ProjectId) -> Result<Vec<HourUsage>>;

    /// Erases part of the data of one deleted device, at most `limit` rows per table. Returns false when no
    /// erasure is due.
    async fn erase_step(&self, now: UnixMs, limit: usize) -> Result<bool>;
    /// Erases part of the data of this deleted device, at most `limit` rows per table. Returns false when
    /// nothing is left.
    async fn erase_device_step(&self, scope: Scope, limit: usize) -> Result<bool>;

    /// Deletes at most `limit` messages of a device that were received before `before`, oldest first. Returns
    /// their number.
    async fn drop_older(&self, scope: Scope, before: UnixMs, limit: usize) -> Result<u64>;

    /// Creates a deployment group.
    async fn create_group(&self, project: ProjectId, id: GroupId, name: &str, branch: &str) -> Result<()>;
    /// Returns the groups of a project with their devices; `_orphaned` first, then by name.
    async fn groups(&self, project: ProjectId) -> Result<Vec<Group>>;

    /// Creates a device.
    async fn create_device(&self, device: &NewDevice) -> Result<()>;
    /// Returns the devices of a project, by name, then id.
    async fn devices(&self, project: ProjectId) -> Result<Vec<Device>>;
    /// Returns one device; none when the project has no such device.
    async fn device(&self, scope: Scope) -> Result<Option<Device>>;
    /// Returns the desired and the acknowledged settings of a device; none if the device does not exist.
    async fn device_settings(&self, scope: Scope) -> Result<Option<SettingsState>>;
    /// Returns scope and secret hash of a device that logs in to the broker. The only look-up that does not
    /// take a project.
    async fn device_credentials(&self, device: DeviceId) -> Result<Option<(Scope, SecretHash)>>;

    /// Returns the devices of all projects that are recorded as online. For the cloud's own start and checks.
    async fn online_devices(&self) -> Result<Vec<Scope>>;

    /// Returns the pair codes of a project, oldest first.
    async fn pair_codes(&self, project: ProjectId) -> Result<Vec<PairCode>>;

    /// Stores an API token without an audit entry. For tools with direct database access (`iottly
    /// provision`).
    async fn create_token(&self, hash: SecretHash, token: &Token) -> Result<()>;
    /// Returns the token whose secret has this hash, even if it has expired.
    async fn token(&self, hash: SecretHash) -> Result<Option<Token>>;
    /// Returns a token of a project, even if it has expired.
    async fn token_by_id(&self, project: ProjectId, id: TokenId) -> Result<Option<Token>>;
    /// Returns the tokens of a project, oldest first.
    async fn tokens(&self, project: ProjectId) -> Result<Vec<Token>>;
    /// Records the use of a token.
    async fn touch_token(&self, project: ProjectId, id: TokenId, now: UnixMs) -> Result<()>;

    /// Returns the message definitions of a project, by type.
    async fn definitions(&self, project: ProjectId) -> Result<Vec<Definition>>;
    /// Returns one definition.
    async fn definition(&self, project: ProjectId, cmd_type: &str) -> Result<Option<Definition>>;

    /// Returns the branches of a project, by name.
    async fn branches(&self, project: ProjectId) -> Result<Vec<Branch>>;
    /// Returns the working copy of a branch, by section and name; none if the branch does not exist.
    async fn snippets(&self, project: ProjectId, branch: &str) -> Result<Option<Vec<Snippet>>>;
    /// Returns revisions of a branch with numbers below `before`, newest first, at most `limit`.
    async fn revisions(
        &self,
        project: ProjectId,
        branch: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Revision>>;
    /// Returns one revision with its snippets.
    async fn revision(
        &self,
        project: ProjectId,
        branch: &str,
        number: u64,
    ) -> Result<Option<(Revision, Vec<Snippet>)>>;

    /// Applies writes caused by devices in one transaction; returns the outcomes in the order of the writes.
    async fn commit(&self, writes: Vec<Write>) -> Result<Vec<Outcome>>;
    /// Applies uploads of devices in one transaction; returns the outcomes in the order of the uploads.
    async fn ingest(&self, uploads: Vec<Upload>) -> Result<Vec<Outcome>> {
        self.commit(uploads.into_iter().map(Write::Upload).collect())
            .await
    }
    /// Returns the position of a stream; 0 for an unknown one.
    async fn stream_upto(&self, scope: Scope, stream: StreamId) -> Result<u64>;

    /// Records that a device went online or offline, with an entry in its history. Writes nothing if that was
    /// recorded already.
    async fn set_presence(
        &self,
        scope: Scope,
        online: bool,
        agent_version: Option<&str>,
        now: UnixMs,
    ) -> Result<Option<StoredMessage>> {
        let agent_version = agent_version.map(str::to_owned);
        let write = Write::Device {
            scope,
            at: now,
            online: Some(online),
            agent_version,
        };
        Ok(self
            .commit(vec![write])
            .await?
            .pop()
            .and_then(|mut outcome| outcome.stored.pop()))
    }

    /// Writes an `iottlyagent` entry on behalf of the cloud into a device's history. Returns none when the
    /// project has no room for it.
    async fn add_agent_message(
        &self,
        scope: Scope,
        payload: Box<RawValue>,
        now: UnixMs,
    ) -> Result<Option<StoredMessage>> {
        let outcome = self
            .commit(vec![Write::Notice {
                scope,
                at: now,
                payload,
            }])
            .await?
            .pop();
        Ok(outcome.and_then(|mut outcome| outcome.stored.pop()))
    }

    /// Returns entries of a device's history, newest first, at most `limit`.
    async fn scan(&self, scope: Scope, bounds: ScanBounds, limit: usize) -> Result<Vec<StoredMessage>>;
    /// Returns keys and sizes of what [`scan`](Self::scan) would return, to decide how much to read.
    async fn entry_sizes(&self, scope: Scope, bounds: ScanBounds, limit: usize) -> Result<Vec<EntrySize>>;
    /// Returns entries of a device's history between two keys, both included, newest first, at most `limit`.
    async fn entries_between(
        &self,
        scope: Scope,
        newest: Cursor,
        oldest: Cursor,
        limit: usize,
    ) -> Result<Vec<StoredMessage>>;
    /// Returns keys and sizes of what [`page`](Self::page) would return.
    async fn page_sizes(&self, scope: Scope, query: &PageQuery) -> Result<Vec<EntrySize>>;
    /// Returns entries of a device's history by their keys, in the order of the keys; missing entries are
    /// omitted.
    async fn entries(&self, scope: Scope, keys: &[Cursor]) -> Result<Vec<StoredMessage>>;
    /// Returns a page of a device's history by its offset.
    async fn page(&self, scope: Scope, query: &PageQuery) -> Result<Vec<StoredMessage>>;
    /// Returns the newest lines of a device's log, newest first, at most `limit`.
    async fn logs(&self, scope: Scope, limit: usize) -> Result<Vec<StoredLog>>;

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
    /// Sets a sent command that is being cancelled to cancelled, until the device reports otherwise.
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

    /// Returns releases of a project with numbers below `before`, newest first, at most `limit`.
    async fn releases(
        &self,
        project: ProjectId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<StoredRelease>>;
    /// Returns one release.
    async fn one_release(&self, project: ProjectId, seq: u64) -> Result<Option<StoredRelease>>;
    /// Returns the releases of completed rollouts of a group, newest rollout first, at most `limit`.
    async fn deployed(&self, project: ProjectId, group: GroupId, limit: usize) -> Result<Vec<StoredRelease>>;
    /// Returns the newest rollouts of a project, or of one of its groups, at most `limit`.
    async fn rollouts(
        &self,
        project: ProjectId,
        group: Option<GroupId>,
        limit: usize,
    ) -> Result<Vec<Rollout>>;
    /// Returns one rollout.
    async fn rollout(&self, project: ProjectId, id: RolloutId) -> Result<Option<Rollout>>;
    /// Returns the active rollouts of all projects, a project's oldest first. For the cloud's own executor.
    async fn active_rollouts(&self) -> Result<Vec<(ProjectId, RolloutId)>>;
    /// Returns the devices that a rollout has notified, in whichever group they are now, and the devices of
    /// its group, by id.
    async fn rollout_members(&self, project: ProjectId, rollout: &Rollout) -> Result<Vec<RolloutMember>>;
    /// Saves a step of a rollout. Returns false, without writing, when the step was decided on another
    /// version.
    async fn save_rollout_step(&self, project: ProjectId, step: &RolloutStep, now: UnixMs) -> Result<bool>;
    /// Returns the newest directive to a device that the device may still have to follow.
    async fn open_directive(&self, scope: Scope) -> Result<Option<Box<RawValue>>>;
    /// Records the highest counter of a directive that a device has accepted.
    async fn raise_counter(&self, scope: Scope, counter: u64) -> Result<()>;
    /// Records `at`, a time of the steady clock, for the reports of a rollout's devices that the executor had
    /// not noticed yet.
    async fn note_heard(&self, project: ProjectId, rollout: RolloutId, at: u64) -> Result<()>;
    /// Returns the time of the steady clock in milliseconds; none before its first start.
    async fn steady_clock(&self) -> Result<Option<u64>>;
    /// Advances the steady clock to `at`, in milliseconds; returns its time.
    async fn advance_clock(&self, at: u64) -> Result<u64>;
    /// Returns the releases that active rollouts install, and those that groups run or may return to.
    async fn needed_releases(&self, project: ProjectId) -> Result<BTreeSet<u64>>;
    /// Deletes at most `limit` rollouts that ended long ago, and releases that nothing refers to. Returns
    /// their number.
    async fn tidy_rollouts(&self, project: ProjectId, limit: usize) -> Result<u64>;
    /// Returns the bytes of code and files that a project holds and may hold; none if it does not exist.
    async fn code_room(&self, project: ProjectId) -> Result<Option<CodeRoom>>;
    /// Records the size of a project's files, in bytes.
    async fn note_files(&self, project: ProjectId, bytes: u64) -> Result<()>;
    /// Returns those of `names` that no revision refers to as its component.
    async fn unnamed_components(&self, project: ProjectId, names: Vec<String>) -> Result<Vec<String>>;
    /// Returns the facts that decide which releases the devices of a group accept, by device id.
    async fn device_facts(&self, project: ProjectId, group: GroupId) -> Result<Vec<KnownFacts>>;

    /// Waits for the current write and closes the database; every later call fails.
    async fn close(&self);
}
