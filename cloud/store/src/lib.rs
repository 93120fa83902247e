//! What the cloud must never lose, behind one trait.
//!
//! Every write is committed (fsync included) when its future resolves. A query about a device takes a
//! [`Scope`], so that a query without a project does not type-check.

use std::collections::BTreeSet;

use async_trait::async_trait;
use iottly_protocol::{CommandId, DeviceId, GroupId, MessageKind, ProjectId, StreamId};
use serde_json::value::RawValue;

use iottly_core::ingest::{Outcome, Upload, Write};
use iottly_core::model::{
    AuditEntry, Branch, Change, Changed, CodeRoom, CommandRecord, CommandStatus, ConfigState, Cursor,
    Definition, Device, Group, HourUsage, Idempotency, KnownFacts, Licence, Limits, NewCommand, Principal,
    Project, Revision, Rollout, RolloutId, RolloutMember, RolloutStep, Scope, SecretHash, Snippet, StoredLog,
    StoredMessage, StoredRelease, Token, TokenId, UnixMs, Usage,
};

mod backend;
mod backup;
mod fault;
mod fresh;
mod outbox;
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
pub mod webhooks;

pub use backend::{Database, open};
pub use backup::{backup, restore};
pub use fault::Fault;
pub use fresh::Fresh;
pub use postgres::PostgresStore;
pub use sqlite::SqliteStore;
pub use webhooks::WebhookStore;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// A row holds what this build cannot read.
    #[error("{table} holds an unreadable {field}: {reason}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A unique name or id is taken.
    #[error("{what} {name:?} exists already")]
    Exists {
        /// The kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The project has no such thing.
    #[error("{what} {name:?} is unknown in this project")]
    Missing {
        /// The kind of thing.
        what: &'static str,
        /// Its name or id.
        name: String,
    },
    /// The thing is such that this cannot be done to it.
    #[error("{0}")]
    Refused(String),
    /// A limit is reached.
    #[error("{what} have reached their limit of {max}")]
    Full {
        /// What there is too much of.
        what: &'static str,
        /// How much may be.
        max: i64,
    },
    /// A kind of change was made too often.
    #[error("{action} was done {max} times within an hour")]
    TooOften {
        /// The action, as the audit log names it.
        action: &'static str,
        /// Most times that it may be done in an hour.
        max: i64,
    },
}

/// Shorthand for what the store's methods return.
pub type Result<T> = std::result::Result<T, StoreError>;

/// A device to create.
#[derive(Debug, Clone)]
pub struct NewDevice {
    /// Project and id.
    pub scope: Scope,
    /// Its name.
    pub name: String,
    /// Its group.
    pub group: GroupId,
    /// Hash of its broker secret.
    pub secret: SecretHash,
}

/// Which part of a device's history to scan.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScanBounds {
    /// Only entries strictly older than this one.
    pub before: Option<Cursor>,
    /// Only entries with at least this timestamp.
    pub from: Option<UnixMs>,
    /// Only entries with at most this timestamp.
    pub to: Option<UnixMs>,
}

/// An entry of a history by its key, and how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntrySize {
    /// The entry.
    pub cursor: Cursor,
    /// Bytes of its payload.
    pub bytes: u64,
}

/// A page of a history by its number.
#[derive(Debug, Clone, Copy, Default)]
pub struct PageQuery {
    /// Only entries of this kind.
    pub kind: Option<MessageKind>,
    /// Only entries with at least this timestamp.
    pub from: Option<UnixMs>,
    /// Only entries with a smaller timestamp.
    pub until: Option<UnixMs>,
    /// Oldest first instead of newest first.
    pub ascending: bool,
    /// Entries to skip.
    pub offset: usize,
    /// Most entries.
    pub limit: usize,
}

/// Which commands of a device to list, newest first.
#[derive(Debug, Clone, Copy, Default)]
pub struct CommandQuery {
    /// Only commands with this status.
    pub status: Option<CommandStatus>,
    /// Only commands older than this one: when it was created, and its id.
    pub before: Option<(UnixMs, CommandId)>,
    /// Most commands.
    pub limit: usize,
}

/// What became of a command that was to be stored.
#[derive(Debug, Clone)]
pub enum Submitted {
    /// It is stored.
    New,
    /// A request with the same key stored this one before; nothing is new.
    Earlier(Box<CommandRecord>),
    /// The key was used for another request; nothing is stored.
    OtherRequest,
    /// Too many commands wait for the device, or too many bytes of them; nothing is stored.
    NoRoom,
}

/// Most commands in one page of what waits for a device.
pub const PAGE_COMMANDS: usize = 64;

/// How much may wait for one device, with the command that is to be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandRoom {
    /// Most commands without a final status.
    pub commands: u64,
    /// Most bytes of their values.
    pub bytes: u64,
}

/// Commands without a final status, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenTotals {
    /// How many.
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
    /// All projects, by name.
    async fn projects(&self) -> Result<Vec<Project>>;
    /// One project.
    async fn project(&self, id: ProjectId) -> Result<Option<Project>>;

    /// Changes what a project is made of, with an entry in the audit log, in one transaction.
    async fn change(
        &self,
        project: ProjectId,
        by: &Principal,
        change: Change,
        now: UnixMs,
    ) -> Result<Changed>;
    /// Entries of a project's audit log with smaller numbers than `before`, newest first, at most `limit`.
    async fn audit(&self, project: ProjectId, before: Option<u64>, limit: usize) -> Result<Vec<AuditEntry>>;
    /// What a project may hold and keep; none when there is no such project.
    async fn limits(&self, project: ProjectId) -> Result<Option<Limits>>;
    /// What a project holds.
    async fn usage(&self, project: ProjectId, now: UnixMs) -> Result<Usage>;
    /// The hours of which messages of a project are stored, oldest first, at most 10,000.
    async fn hours(&self, project: ProjectId) -> Result<Vec<HourUsage>>;

    /// Erases some data of one deleted device, at most `limit` rows of a table; false when nothing is to be
    /// erased now.
    async fn erase_step(&self, now: UnixMs, limit: usize) -> Result<bool>;
    /// Erases some data of this deleted device, at most `limit` rows of a table; false when nothing of it is
    /// left.
    async fn erase_device_step(&self, scope: Scope, limit: usize) -> Result<bool>;

    /// Deletes at most `limit` messages of a device that were received before `before`, oldest first; returns
    /// how many.
    async fn drop_older(&self, scope: Scope, before: UnixMs, limit: usize) -> Result<u64>;

    /// Creates a deployment group.
    async fn create_group(&self, project: ProjectId, id: GroupId, name: &str, branch: &str) -> Result<()>;
    /// The groups of a project with their boards; `_orphaned` first, then by name.
    async fn groups(&self, project: ProjectId) -> Result<Vec<Group>>;

    /// Creates a device.
    async fn create_device(&self, device: &NewDevice) -> Result<()>;
    /// The devices of a project, by name then id.
    async fn devices(&self, project: ProjectId) -> Result<Vec<Device>>;
    /// One device; none when the project has no such device.
    async fn device(&self, scope: Scope) -> Result<Option<Device>>;
    /// The settings of a device and which of them it has taken; none when there is no such device.
    async fn device_config(&self, scope: Scope) -> Result<Option<ConfigState>>;
    /// Owner and secret of a device that logs in to the broker; the one look-up that starts without a
    /// project.
    async fn device_credentials(&self, device: DeviceId) -> Result<Option<(Scope, SecretHash)>>;

    /// The devices of all projects that count as online; for the cloud's own start and checks.
    async fn online_devices(&self) -> Result<Vec<Scope>>;

    /// The licences of a project, oldest first.
    async fn licences(&self, project: ProjectId) -> Result<Vec<Licence>>;

    /// Stores an API token without an entry in the audit log; for who has the database in hand.
    async fn create_token(&self, hash: SecretHash, token: &Token) -> Result<()>;
    /// The token whose secret has this hash, whether it still works or not.
    async fn token(&self, hash: SecretHash) -> Result<Option<Token>>;
    /// A token of a project, whether it still works or not.
    async fn token_by_id(&self, project: ProjectId, id: TokenId) -> Result<Option<Token>>;
    /// The tokens of a project, oldest first.
    async fn tokens(&self, project: ProjectId) -> Result<Vec<Token>>;
    /// Notes that a token is in use.
    async fn touch_token(&self, project: ProjectId, id: TokenId, now: UnixMs) -> Result<()>;

    /// The message definitions of a project, by type.
    async fn definitions(&self, project: ProjectId) -> Result<Vec<Definition>>;
    /// One definition.
    async fn definition(&self, project: ProjectId, cmd_type: &str) -> Result<Option<Definition>>;

    /// The branches of a project, by name.
    async fn branches(&self, project: ProjectId) -> Result<Vec<Branch>>;
    /// The working copy of a branch, by section and name; none when there is no such branch.
    async fn snippets(&self, project: ProjectId, branch: &str) -> Result<Option<Vec<Snippet>>>;
    /// Revisions of a branch with smaller numbers than `before`, newest first, at most `limit`.
    async fn revisions(
        &self,
        project: ProjectId,
        branch: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Revision>>;
    /// One revision with what it holds.
    async fn revision(
        &self,
        project: ProjectId,
        branch: &str,
        number: u64,
    ) -> Result<Option<(Revision, Vec<Snippet>)>>;

    /// Applies what devices cause in one transaction; the outcomes are in the order of the writes.
    async fn commit(&self, writes: Vec<Write>) -> Result<Vec<Outcome>>;
    /// Applies uploads of devices in one transaction; the outcomes are in the order of the uploads.
    async fn ingest(&self, uploads: Vec<Upload>) -> Result<Vec<Outcome>> {
        self.commit(uploads.into_iter().map(Write::Upload).collect())
            .await
    }
    /// Position of a stream; 0 for one never seen.
    async fn stream_upto(&self, scope: Scope, stream: StreamId) -> Result<u64>;

    /// Records that a device went online or offline with the history entry that says so. Writes nothing when
    /// it was so already.
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

    /// Writes an `iottlyagent` entry of the cloud's own into a device's history; none when the project has no
    /// room for it.
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

    /// Entries of a device's history, newest first, at most `limit`.
    async fn scan(&self, scope: Scope, bounds: ScanBounds, limit: usize) -> Result<Vec<StoredMessage>>;
    /// Keys and sizes of what [`scan`](Self::scan) finds: what it takes to decide how much to read.
    async fn entry_sizes(&self, scope: Scope, bounds: ScanBounds, limit: usize) -> Result<Vec<EntrySize>>;
    /// Entries of a device's history between two keys, both included, newest first, at most `limit`.
    async fn entries_between(
        &self,
        scope: Scope,
        newest: Cursor,
        oldest: Cursor,
        limit: usize,
    ) -> Result<Vec<StoredMessage>>;
    /// Keys and sizes of what [`page`](Self::page) finds.
    async fn page_sizes(&self, scope: Scope, query: &PageQuery) -> Result<Vec<EntrySize>>;
    /// Entries of a device's history by their keys, in the order of the keys; those that are gone are left
    /// out.
    async fn entries(&self, scope: Scope, keys: &[Cursor]) -> Result<Vec<StoredMessage>>;
    /// A page of a device's history by its number.
    async fn page(&self, scope: Scope, query: &PageQuery) -> Result<Vec<StoredMessage>>;
    /// Newest lines of a device's log, newest first, at most `limit`.
    async fn logs(&self, scope: Scope, limit: usize) -> Result<Vec<StoredLog>>;

    /// Stores a command as queued, unless too much waits for its device; once for all requests with one key.
    async fn create_command(
        &self,
        command: &NewCommand,
        key: Option<&Idempotency>,
        room: &CommandRoom,
    ) -> Result<Submitted>;
    /// What became of the request that had this key before; none when no request had it.
    async fn submitted(&self, scope: Scope, key: &Idempotency) -> Result<Option<Submitted>>;
    /// What waits for the devices of a project, in numbers.
    async fn open_totals(&self, project: ProjectId) -> Result<OpenTotals>;
    /// Forgets the keys of requests that came before `before`; returns how many.
    async fn forget_keys(&self, before: UnixMs) -> Result<u64>;
    /// Commands of a device, newest first.
    async fn commands(&self, scope: Scope, query: &CommandQuery) -> Result<Vec<CommandRecord>>;
    /// Withdraws a command: one that was never sent is cancelled, one that is out is marked as being
    /// cancelled. Returns what it is now.
    async fn cancel_command(&self, scope: Scope, id: CommandId, now: UnixMs)
    -> Result<Option<CommandRecord>>;
    /// Counts a command that is being cancelled and that the device never reported as cancelled, until the
    /// device says otherwise.
    async fn withdraw_command(&self, scope: Scope, id: CommandId, now: UnixMs) -> Result<()>;
    /// One command.
    async fn command(&self, scope: Scope, id: CommandId) -> Result<Option<CommandRecord>>;
    /// Commands of a device that have no final status, oldest first.
    async fn open_commands(&self, scope: Scope) -> Result<Vec<CommandRecord>>;
    /// The oldest commands of a device without a final status that come after `after`: as many as hold
    /// `bytes` of values, at least one if there is any, and at most 64.
    async fn open_page(
        &self,
        scope: Scope,
        after: Option<(UnixMs, CommandId)>,
        bytes: usize,
    ) -> Result<Vec<CommandRecord>>;
    /// Marks a queued command as sent; does nothing when it is past that.
    async fn mark_sent(&self, scope: Scope, id: CommandId, now: UnixMs) -> Result<()>;
    /// Expires the commands whose time passed before the device journaled them; returns how many.
    async fn expire_commands(&self, now: UnixMs) -> Result<u64>;

    /// Releases of a project with smaller numbers than `before`, newest first, at most `limit`.
    async fn releases(
        &self,
        project: ProjectId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<StoredRelease>>;
    /// One release.
    async fn one_release(&self, project: ProjectId, seq: u64) -> Result<Option<StoredRelease>>;
    /// The releases that rollouts in a group have brought to their end, newest rollout first, at most
    /// `limit`.
    async fn deployed(&self, project: ProjectId, group: GroupId, limit: usize) -> Result<Vec<StoredRelease>>;
    /// The newest rollouts of a project, or of one group in it, at most `limit`.
    async fn rollouts(
        &self,
        project: ProjectId,
        group: Option<GroupId>,
        limit: usize,
    ) -> Result<Vec<Rollout>>;
    /// One rollout.
    async fn rollout(&self, project: ProjectId, id: RolloutId) -> Result<Option<Rollout>>;
    /// The rollouts of all projects that may have to be gone on with, a project's oldest first; for the
    /// cloud's own executor.
    async fn active_rollouts(&self) -> Result<Vec<(ProjectId, RolloutId)>>;
    /// The devices that a rollout has notified, wherever they are now, and those of its group, by id.
    async fn rollout_members(&self, project: ProjectId, rollout: &Rollout) -> Result<Vec<RolloutMember>>;
    /// Writes a step of a rollout down; false, and nothing is written, when it was decided on another
    /// version.
    async fn save_rollout_step(&self, project: ProjectId, step: &RolloutStep, now: UnixMs) -> Result<bool>;
    /// The newest directive to a device that it may still have to follow.
    async fn open_directive(&self, scope: Scope) -> Result<Option<Box<RawValue>>>;
    /// Notes the highest counter of a directive that a device has accepted.
    async fn raise_counter(&self, scope: Scope, counter: u64) -> Result<()>;
    /// Notes when the last words of a rollout's devices came that nobody has noticed yet; `at` is of the
    /// steady clock.
    async fn note_heard(&self, project: ProjectId, rollout: RolloutId, at: u64) -> Result<()>;
    /// Returns the time of the steady clock, milliseconds; none before its first start.
    async fn steady_clock(&self) -> Result<Option<u64>>;
    /// Moves the steady clock forward to `at`, milliseconds; returns its time.
    async fn advance_clock(&self, at: u64) -> Result<u64>;
    /// The releases that are on their way, and those that groups run or may go back to.
    async fn needed_releases(&self, project: ProjectId) -> Result<BTreeSet<u64>>;
    /// Forgets at most `limit` rollouts that ended long ago, and releases that nothing names; returns how
    /// many.
    async fn tidy_rollouts(&self, project: ProjectId, limit: usize) -> Result<u64>;
    /// Bytes of code and files that a project holds and may hold; none when there is no such project.
    async fn code_room(&self, project: ProjectId) -> Result<Option<CodeRoom>>;
    /// Notes how many bytes a project's files have.
    async fn note_files(&self, project: ProjectId, bytes: u64) -> Result<()>;
    /// Those of `names` that no revision names as its component.
    async fn unnamed_components(&self, project: ProjectId, names: Vec<String>) -> Result<Vec<String>>;
    /// What decides on releases on the devices of a group, by id.
    async fn device_facts(&self, project: ProjectId, group: GroupId) -> Result<Vec<KnownFacts>>;

    /// Waits for the running write and closes the database; every later call fails.
    async fn close(&self);
}
