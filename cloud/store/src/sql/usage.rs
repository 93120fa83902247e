//! Limits and usage of projects, counted in the transaction of every change.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use async_trait::async_trait;
use iottly_protocol::ProjectId;

use super::db::{self, Conn, Row};
use super::{Backend, codec};
use crate::{Result, UsageStore};
use iottly_core::ingest::Entry;
use iottly_core::ingest::stream::StreamState;
use iottly_core::model::{HourUsage, Limits, MinuteUsage, StoredMessage, UnixMs, Usage};

const HOUR_MS: UnixMs = 60 * 60 * 1000;
const DAY_HOURS: i64 = 24;
/// Value of `hour` in the row with the project's totals.
const TOTAL: i64 = -1;
const MINUTE_MS: UnixMs = 60 * 1000;
/// Number of minutes whose messages are counted: a day.
const DAY_MINUTES: i64 = 24 * 60;
/// Maximum number of hours considered for deleting the oldest messages: more than a year.
const MAX_HOURS: i64 = 10_000;

const LIMITS: &str = "SELECT id, max_devices, max_definitions, max_messages_per_day, max_bytes, retention_bytes FROM projects WHERE id = $1";
const COUNT: &str = "INSERT INTO usage (project, hour, received, messages, bytes) VALUES ($1, -1, $3, $3, $4), ($1, $2, $3, $3, $4) \
                     ON CONFLICT (project, hour) DO UPDATE SET received = usage.received + excluded.received, \
                     messages = usage.messages + excluded.messages, bytes = usage.bytes + excluded.bytes \
                     RETURNING (SELECT hooks FROM projects WHERE id = $1) AS hooks, \
                     (SELECT alert_changes FROM projects WHERE id = $1) AS alert_changes";

/// Counts messages of a minute, in the slot of the same minute of an earlier day.
const COUNT_MINUTE: &str = "INSERT INTO minute_usage (project, slot, minute, messages) VALUES ($1, $2, $3, $4) \
                            ON CONFLICT (project, slot) DO UPDATE SET messages = excluded.messages + CASE \
                            WHEN minute_usage.minute = excluded.minute THEN minute_usage.messages ELSE 0 END, minute = excluded.minute";

/// Amounts that a transaction adds to the counts.
#[derive(Default, Clone, Copy)]
struct Sum {
    messages: i64,
    bytes: i64,
}

fn hour(ts: UnixMs) -> i64 {
    ts.div_euclid(HOUR_MS).max(0)
}

/// Projects with webhooks and projects with alert rules, each with the number of changes to them.
#[derive(Debug, Default)]
pub(super) struct Versions {
    pub(super) hooks: Vec<(ProjectId, i64)>,
    pub(super) alerts: Vec<(ProjectId, i64)>,
}

/// Counts messages that are being written. Returns those of their projects that have webhooks or alert rules.
pub(super) async fn count(tx: &mut Conn, messages: &[&StoredMessage]) -> Result<Versions> {
    // Ordered, so that two transactions never deadlock.
    let mut sums: BTreeMap<(ProjectId, i64), Sum> = BTreeMap::new();
    let mut minutes: BTreeMap<(ProjectId, i64), i64> = BTreeMap::new();
    for message in messages {
        let minute = message.timestamp.div_euclid(MINUTE_MS).max(0);
        *minutes.entry((message.scope.project, minute)).or_default() += 1;
        let sum = sums
            .entry((message.scope.project, hour(message.timestamp)))
            .or_default();
        sum.messages += 1;
        sum.bytes += message.payload.get().len() as i64;
    }
    let mut versions = BTreeMap::new();
    for ((project, hour), sum) in sums {
        let query = sqlx::query(COUNT)
            .bind(codec::id(&project))
            .bind(hour)
            .bind(sum.messages)
            .bind(sum.bytes);
        for row in query.fetch_all(&mut *tx).await? {
            let number = |field| {
                Ok::<_, crate::StoreError>(codec::get::<Option<i64>>(&row, field)?.unwrap_or_default())
            };
            versions.insert(project, (number("hooks")?, number("alert_changes")?));
        }
    }
    // The rows above have locked the counts of these projects.
    for ((project, minute), messages) in minutes {
        sqlx::query(COUNT_MINUTE)
            .bind(codec::id(&project))
            .bind(minute % DAY_MINUTES)
            .bind(minute)
            .bind(messages)
            .execute(&mut *tx)
            .await?;
    }
    let mut found = Versions::default();
    for (project, (hooks, alerts)) in versions {
        found.hooks.extend((hooks > 0).then_some((project, hooks)));
        found.alerts.extend((alerts > 0).then_some((project, alerts)));
    }
    Ok(found)
}

/// Locks the row with the project's totals, which it makes if there is none: otherwise two transactions could each wait for
/// what the other one inserts.
const LOCK: &str = "INSERT INTO usage (project, hour, received, messages, bytes) SELECT id, -1, 0, 0, 0 FROM projects WHERE id = $1 \
                    ON CONFLICT (project, hour) DO UPDATE SET hour = excluded.hour";

/// Locks the counts of a project until the transaction ends, before alerts: the ingest takes both in this order.
pub(super) async fn lock(tx: &mut Conn, project: ProjectId) -> Result<()> {
    sqlx::query(LOCK).bind(codec::id(&project)).execute(tx).await?;
    Ok(())
}

/// Subtracts deleted messages, rows of `ts` and `bytes`, from the counts. Returns their number.
pub(super) async fn uncount(tx: &mut Conn, project: ProjectId, deleted: &[Row]) -> Result<u64> {
    let mut sums: BTreeMap<i64, Sum> = BTreeMap::new();
    for row in deleted {
        let bytes = codec::get::<i64>(row, "bytes")?;
        for hour in [TOTAL, hour(codec::get(row, "ts")?)] {
            let sum = sums.entry(hour).or_default();
            sum.messages += 1;
            sum.bytes += bytes;
        }
    }
    for (hour, sum) in sums {
        sqlx::query(
            "UPDATE usage SET messages = messages - $3, bytes = bytes - $4 WHERE project = $1 AND hour = $2",
        )
        .bind(codec::id(&project))
        .bind(hour)
        .bind(sum.messages)
        .bind(sum.bytes)
        .execute(&mut *tx)
        .await?;
    }
    Ok(deleted.len() as u64)
}

/// Counts `more` bytes of an entry of the time `ts` that was extended; negative when it became shorter.
pub(super) async fn lengthened(tx: &mut Conn, project: ProjectId, ts: UnixMs, more: i64) -> Result<()> {
    sqlx::query("UPDATE usage SET bytes = bytes + $3 WHERE project = $1 AND hour IN (-1, $2)")
        .bind(codec::id(&project))
        .bind(hour(ts))
        .bind(more)
        .execute(tx)
        .await?;
    Ok(())
}

/// Deletes the rows of hours without stored messages that no daily limit needs.
pub(super) async fn forget_empty(tx: &mut Conn, project: ProjectId, now: UnixMs) -> Result<()> {
    sqlx::query("DELETE FROM usage WHERE project = $1 AND hour >= 0 AND hour < $2 AND messages <= 0")
        .bind(codec::id(&project))
        .bind(hour(now) - 2 * DAY_HOURS)
        .execute(&mut *tx)
        .await?;
    for sql in [
        "DELETE FROM usage WHERE project = $1 AND NOT EXISTS (SELECT 1 FROM projects WHERE id = $1)",
        "DELETE FROM minute_usage WHERE project = $1 AND NOT EXISTS (SELECT 1 FROM projects WHERE id = $1)",
    ] {
        sqlx::query(sql)
            .bind(codec::id(&project))
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

#[async_trait]
impl UsageStore for Backend {
    async fn limits(&self, project: ProjectId) -> Result<Option<Limits>> {
        sqlx::query(LIMITS)
            .bind(codec::id(&project))
            .fetch_optional(&self.readers)
            .await?
            .as_ref()
            .map(read)
            .transpose()
    }

    async fn usage(&self, project: ProjectId, now: UnixMs) -> Result<Usage> {
        let mut tx = db::snapshot(&self.readers).await?;
        let id = codec::id(&project);
        let (messages, bytes) = total(&mut tx, project).await?;
        let mut counts = [0; 2];
        for (count, sql) in counts.iter_mut().zip([
            "SELECT count(*) AS n FROM devices WHERE project = $1",
            "SELECT count(*) AS n FROM definitions WHERE project = $1",
        ]) {
            let row = sqlx::query(sql).bind(id).fetch_one(&mut *tx).await?;
            *count = codec::unsigned(codec::get(&row, "n")?, "devices", "n")?;
        }
        let messages_today = today(&mut tx, project, now).await?;
        Ok(Usage {
            devices: counts[0],
            definitions: counts[1],
            messages_today,
            messages,
            bytes,
        })
    }

    async fn minutes(&self, project: ProjectId, from: UnixMs, to: UnixMs) -> Result<Vec<MinuteUsage>> {
        let rows = sqlx::query(
            "SELECT minute, messages FROM minute_usage WHERE project = $1 AND minute >= $2 AND minute < $3 ORDER BY minute",
        )
        .bind(codec::id(&project))
        .bind(from.div_euclid(MINUTE_MS))
        .bind(to.div_euclid(MINUTE_MS))
        .fetch_all(&self.readers)
        .await?;
        let minute = |row: &Row| {
            Ok(MinuteUsage {
                start: codec::get::<i64>(row, "minute")?.saturating_mul(MINUTE_MS),
                messages: codec::unsigned(codec::get(row, "messages")?, "minute_usage", "messages")?,
            })
        };
        rows.iter().map(minute).collect()
    }

    async fn hours(&self, project: ProjectId) -> Result<Vec<HourUsage>> {
        let rows =
            sqlx::query("SELECT hour, bytes FROM usage WHERE project = $1 AND hour >= 0 AND messages > 0 ORDER BY hour LIMIT $2")
                .bind(codec::id(&project))
                .bind(MAX_HOURS)
                .fetch_all(&self.readers)
                .await?;
        let hour = |row: &Row| {
            let bytes = codec::unsigned(codec::get(row, "bytes")?, "usage", "bytes")?;
            Ok(HourUsage {
                start: codec::get::<i64>(row, "hour")?.saturating_mul(HOUR_MS),
                bytes,
            })
        };
        rows.iter().map(hour).collect()
    }
}

/// Returns the limits as the transaction sees them; no limits for a deleted project.
pub(super) async fn within(tx: &mut Conn, project: ProjectId) -> Result<Limits> {
    let row = sqlx::query(LIMITS)
        .bind(codec::id(&project))
        .fetch_optional(tx)
        .await?;
    row.as_ref().map_or(Ok(Limits::default()), read)
}

fn read(row: &Row) -> Result<Limits> {
    let limit = |field| {
        let limit: Option<i64> = codec::get(row, field)?;
        limit
            .map(|limit| codec::unsigned(limit, "projects", field))
            .transpose()
    };
    Ok(Limits {
        devices: limit("max_devices")?,
        definitions: limit("max_definitions")?,
        messages_per_day: limit("max_messages_per_day")?,
        bytes: limit("max_bytes")?,
        retention_bytes: limit("retention_bytes")?,
    })
}

pub(super) async fn set(tx: &mut Conn, project: ProjectId, limits: &Limits) -> Result<u64> {
    if within(tx, project).await? == *limits {
        return Ok(0);
    }
    let done = sqlx::query(
        "UPDATE projects SET max_devices = $2, max_definitions = $3, max_messages_per_day = $4, max_bytes = $5, retention_bytes = $6 \
         WHERE id = $1",
    )
    .bind(codec::id(&project))
    .bind(limits.devices.map(codec::signed))
    .bind(limits.definitions.map(codec::signed))
    .bind(limits.messages_per_day.map(codec::signed))
    .bind(limits.bytes.map(codec::signed))
    .bind(limits.retention_bytes.map(codec::signed))
    .execute(tx)
    .await?;
    Ok(done.rows_affected())
}

/// Returns the number of things of a kind that a project may have: the lower one of its own limit and the
/// general one.
pub(super) fn most(own: Option<u64>, everybodys: i64) -> i64 {
    own.map_or(everybodys, |own| codec::signed(own).min(everybodys))
}

async fn total(tx: &mut Conn, project: ProjectId) -> Result<(u64, u64)> {
    let row = sqlx::query("SELECT messages, bytes FROM usage WHERE project = $1 AND hour = -1")
        .bind(codec::id(&project))
        .fetch_optional(tx)
        .await?;
    let Some(row) = row else { return Ok((0, 0)) };
    let number = |field| codec::unsigned(codec::get(&row, field)?, "usage", field);
    Ok((number("messages")?, number("bytes")?))
}

/// Returns the number of messages accepted since midnight UTC.
async fn today(tx: &mut Conn, project: ProjectId, now: UnixMs) -> Result<u64> {
    let rows = sqlx::query("SELECT received FROM usage WHERE project = $1 AND hour BETWEEN $2 AND $3")
        .bind(codec::id(&project))
        .bind(hour(now) / DAY_HOURS * DAY_HOURS)
        .bind(hour(now))
        .fetch_all(tx)
        .await?;
    rows.iter()
        .map(|row| codec::unsigned(codec::get(row, "received")?, "usage", "received"))
        .sum()
}

/// Remaining room of the projects of a transaction.
pub(super) struct Rooms(HashMap<ProjectId, Room>);

/// Divisor of a limit that gives the allowance by which the cloud's own entries (gaps, reused numbers,
/// presence) may exceed it.
const OVERDRAFT: u64 = 10;
/// Minimum number of the cloud's own entries per day by which any project may exceed its limit.
const OVERDRAFT_ENTRIES: u64 = 100;
/// Minimum bytes of the cloud's own entries by which any project may exceed its limit.
const OVERDRAFT_BYTES: u64 = 64 << 10;

/// Usage of a project that has limits.
#[derive(Debug, Clone)]
pub(super) struct Room {
    limits: Limits,
    messages: u64,
    bytes: u64,
}

impl Rooms {
    /// Reads the usage of the projects that have limits.
    pub(super) async fn of(tx: &mut Conn, projects: BTreeSet<ProjectId>, now: UnixMs) -> Result<Self> {
        let mut rooms = HashMap::new();
        for project in projects {
            let limits = within(tx, project).await?;
            if limits.messages_per_day.is_none() && limits.bytes.is_none() {
                continue;
            }
            let (bytes, messages) = (total(tx, project).await?.1, today(tx, project, now).await?);
            rooms.insert(
                project,
                Room {
                    limits,
                    messages,
                    bytes,
                },
            );
        }
        Ok(Self(rooms))
    }

    /// Returns true if the project has limits.
    pub(super) fn has_limits(&self, project: ProjectId) -> bool {
        self.0.contains_key(&project)
    }

    /// Returns the project's usage; none for a project without limits.
    pub(super) fn of_project(&self, project: ProjectId) -> Option<Room> {
        self.0.get(&project).cloned()
    }

    /// Undoes what was counted since [`of_project`](Self::of_project).
    pub(super) fn put_back(&mut self, project: ProjectId, room: Option<Room>) {
        self.0.extend(room.map(|room| (project, room)));
    }

    /// Returns true if the project has used up a quota.
    pub(super) fn is_used(&self, project: ProjectId) -> bool {
        self.0.get(&project).is_some_and(Room::is_used)
    }

    /// Counts an entry written by the cloud. Returns false, without counting, when the project has no room
    /// for it.
    pub(super) fn own(&mut self, project: ProjectId, bytes: usize) -> bool {
        self.0.get_mut(&project).is_none_or(|room| room.own(bytes))
    }

    /// Counts an entry that is written in any case.
    pub(super) fn charge(&mut self, project: ProjectId, bytes: usize) {
        if let Some(room) = self.0.get_mut(&project) {
            room.charge(bytes);
        }
    }

    /// Refuses messages that a project has no room for. Messages that were stored before need no room.
    pub(super) fn admit(
        &mut self,
        project: ProjectId,
        state: &StreamState,
        first: u64,
        records: &mut [std::result::Result<Entry, String>],
    ) {
        let Some(room) = self.0.get_mut(&project) else {
            return;
        };
        for (seq, record) in (first..).zip(records) {
            if let Ok(Entry::Message { payload, .. }) = record
                && !state.holds(seq)
                && let Err(reason) = room.take(payload.get().len() as u64)
            {
                *record = Err(reason);
            }
        }
    }
}

impl Room {
    fn take(&mut self, bytes: u64) -> std::result::Result<(), String> {
        if let Some(max) = self.limits.messages_per_day.filter(|max| self.messages >= *max) {
            return Err(format!("project has reached its limit of {max} messages a day"));
        }
        if let Some(max) = self
            .limits
            .bytes
            .filter(|max| self.bytes.saturating_add(bytes) > *max)
        {
            return Err(format!(
                "project has reached its limit of {max} bytes of messages"
            ));
        }
        self.messages += 1;
        self.bytes += bytes;
        Ok(())
    }

    /// Returns true if a quota is used up.
    pub(super) fn is_used(&self) -> bool {
        self.limits
            .messages_per_day
            .is_some_and(|max| self.messages >= max)
            || self.limits.bytes.is_some_and(|max| self.bytes >= max)
    }

    /// Counts an entry written by the cloud. Returns false, without counting, when it would exceed a quota by
    /// too much.
    pub(super) fn own(&mut self, bytes: usize) -> bool {
        let most = |max: u64, least: u64| max.saturating_add((max / OVERDRAFT).max(least));
        let fits = self
            .limits
            .messages_per_day
            .is_none_or(|max| self.messages < most(max, OVERDRAFT_ENTRIES))
            && self
                .limits
                .bytes
                .is_none_or(|max| self.bytes.saturating_add(bytes as u64) <= most(max, OVERDRAFT_BYTES));
        if fits {
            self.charge(bytes);
        }
        fits
    }

    fn charge(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes as u64;
    }
}
