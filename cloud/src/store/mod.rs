//! What the cloud must never lose, behind one trait.
//!
//! Every write is committed (fsync included) when its future resolves. A query about a device takes a [`Scope`], so that a
//! query without a project does not type-check.

use async_trait::async_trait;
use iottly_protocol::{CommandId, DeviceId, GroupId, ProjectId, StreamId};
use serde_json::value::RawValue;

use crate::ingest::{Outcome, Upload};
use crate::model::{
    CommandRecord, Cursor, Definition, Device, Group, NewCommand, Principal, Project, Scope, SecretHash, StoredLog,
    StoredMessage, UnixMs,
};

mod sqlite;

pub use sqlite::SqliteStore;

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

/// The cloud's database.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Creates a project with its `_orphaned` group and the seeded definitions.
    async fn create_project(&self, project: &Project, orphaned: GroupId, definitions: &[Definition]) -> Result<()>;
    /// All projects, by name.
    async fn projects(&self) -> Result<Vec<Project>>;
    /// One project.
    async fn project(&self, id: ProjectId) -> Result<Option<Project>>;

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
    /// Owner and secret of a device that logs in to the broker; the one look-up that starts without a project.
    async fn device_credentials(&self, device: DeviceId) -> Result<Option<(Scope, SecretHash)>>;

    /// The devices of all projects that count as online; for the cloud's own start and checks.
    async fn online_devices(&self) -> Result<Vec<Scope>>;

    /// Stores an API token.
    async fn create_token(&self, hash: SecretHash, principal: &Principal) -> Result<()>;
    /// The principal of a token.
    async fn principal(&self, hash: SecretHash) -> Result<Option<Principal>>;

    /// The message definitions of a project, by type.
    async fn definitions(&self, project: ProjectId) -> Result<Vec<Definition>>;
    /// One definition.
    async fn definition(&self, project: ProjectId, cmd_type: &str) -> Result<Option<Definition>>;

    /// Applies uploads of devices in one transaction; the outcomes are in the order of the uploads.
    async fn ingest(&self, uploads: Vec<Upload>) -> Result<Vec<Outcome>>;
    /// Position of a stream; 0 for one never seen.
    async fn stream_upto(&self, scope: Scope, stream: StreamId) -> Result<u64>;

    /// Records that a device went online or offline with the history entry that says so. Writes nothing when it was so already.
    async fn set_presence(
        &self,
        scope: Scope,
        online: bool,
        agent_version: Option<&str>,
        now: UnixMs,
    ) -> Result<Option<StoredMessage>>;

    /// Writes an `iottlyagent` entry of the cloud's own into a device's history.
    async fn add_agent_message(&self, scope: Scope, payload: Box<RawValue>, now: UnixMs) -> Result<StoredMessage>;

    /// Entries of a device's history, newest first, at most `limit`.
    async fn scan(&self, scope: Scope, bounds: ScanBounds, limit: usize) -> Result<Vec<StoredMessage>>;
    /// Newest lines of a device's log, newest first, at most `limit`.
    async fn logs(&self, scope: Scope, limit: usize) -> Result<Vec<StoredLog>>;

    /// Stores a command as queued.
    async fn create_command(&self, command: &NewCommand) -> Result<()>;
    /// One command.
    async fn command(&self, scope: Scope, id: CommandId) -> Result<Option<CommandRecord>>;
    /// Commands of a device that have no final status, oldest first.
    async fn open_commands(&self, scope: Scope) -> Result<Vec<CommandRecord>>;
    /// Marks a queued command as sent; does nothing when it is past that.
    async fn mark_sent(&self, scope: Scope, id: CommandId, now: UnixMs) -> Result<()>;
    /// Expires the commands whose time passed before the device journaled them; returns how many.
    async fn expire_commands(&self, now: UnixMs) -> Result<u64>;

    /// Waits for the running write and closes the database; every later call fails.
    async fn close(&self);
}
