//! Histories and logs of devices, for reading. Entries are written through
//! [`IngestStore`](crate::IngestStore).

use async_trait::async_trait;
use iottly_protocol::{DeviceId, Level, MessageKind, ProjectId};

use crate::error::Result;
use iottly_core::model::{Cursor, Scope, StoredLog, StoredMessage, UnixMs};

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

/// Query for log lines of all devices of a project.
#[derive(Debug, Clone)]
pub struct LogQuery {
    /// Least severe level of the lines.
    pub level: Level,
    /// Text that the lines contain; upper and lower case of ASCII letters are the same. Empty for all lines.
    pub contains: String,
    /// Latest time of receipt, included.
    pub until: Option<UnixMs>,
    /// Place before which the lines are.
    pub before: Option<LogPlace>,
    /// Maximum number of lines.
    pub limit: usize,
}

/// Place of a line in the log of a project, newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPlace {
    /// Time of receipt.
    pub at: UnixMs,
    /// Device of the line.
    pub device: DeviceId,
    /// Number of the line among those of the device.
    pub number: i64,
}

/// Lines of the log of a project, newest first.
#[derive(Debug, Clone, Default)]
pub struct FoundLogs {
    /// Lines, each with its device.
    pub lines: Vec<(DeviceId, StoredLog)>,
    /// Place behind which the next lines are; none if all were examined.
    pub next: Option<LogPlace>,
}

/// Maximum number of lines of a project that a search for a text examines, newest first.
pub const SEARCHED_LINES: usize = 50_000;

/// Store operations that read histories and logs of devices.
#[async_trait]
pub trait HistoryStore: Send + Sync + 'static {
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
    /// Returns the times of the newest messages of a device's firmware, newest first; looks at the newest `limit` entries
    /// of its history.
    async fn sent_times(&self, scope: Scope, limit: usize) -> Result<Vec<UnixMs>>;
    /// Returns the time of the last message of a device's firmware, however much its history has had since; none if it
    /// never sent one.
    async fn last_sent(&self, scope: Scope) -> Result<Option<UnixMs>>;
    /// Returns the newest lines of a device's log, newest first, at most `limit`.
    async fn logs(&self, scope: Scope, limit: usize) -> Result<Vec<StoredLog>>;
    /// Returns log lines of all devices of a project, newest first by the time of receipt. At most [`SEARCHED_LINES`] lines
    /// are examined.
    async fn project_logs(&self, project: ProjectId, query: &LogQuery) -> Result<FoundLogs>;
}
