//! Rows of roll-ups: those of a group of messages are read, extended and written together.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use iottly_protocol::{DeviceId, MessageKind, ProjectId};

use super::db::{Conn, Row};
use super::series_fill::Cursors;
use super::series_paths::{self, PathId};
use super::{codec, latest, multi_row};
use crate::Result;
use iottly_core::model::{Scope, StoredMessage, UnixMs};
use iottly_core::series::{Found, Newest, Rollup, Skipped, Width, made_at, walk};

const COLUMNS: usize = 10;
const KEY_COLUMNS: usize = 5;
/// Numbers of rows of the statements. Few distinct ones keep the cache of prepared statements effective.
const SIZES: [usize; 4] = [64, 16, 4, 1];

static READ: LazyLock<[String; SIZES.len()]> = LazyLock::new(|| SIZES.map(read_sql));
static WRITE: LazyLock<[String; SIZES.len()]> = LazyLock::new(|| SIZES.map(write_sql));

/// Returns a statement that joins the keys with the rows, so that each key is one index search regardless of the
/// database's statistics.
fn read_sql(rows: usize) -> String {
    format!(
        "WITH v(p, d, s, w, t) AS (VALUES {}) SELECT device, path, width, start, n, total, low, high, sketch \
         FROM v CROSS JOIN rollups WHERE project = v.p AND device = v.d AND path = v.s AND width = v.w AND start = v.t",
        multi_row::rows(KEY_COLUMNS, rows)
    )
}

fn write_sql(rows: usize) -> String {
    format!(
        "INSERT INTO rollups (project, device, path, width, start, n, total, low, high, sketch) VALUES {} \
         ON CONFLICT (project, device, path, width, start) DO UPDATE SET n = excluded.n, total = excluded.total, \
         low = excluded.low, high = excluded.high, sketch = excluded.sketch",
        multi_row::rows(COLUMNS, rows)
    )
}

/// Place of a path among those of its project in a batch.
type Place = usize;

/// Values of a group of messages, by series and minute.
#[derive(Default)]
pub(super) struct Batch {
    projects: HashMap<ProjectId, Paths>,
    minutes: HashMap<(Scope, Place, UnixMs), Rollup>,
    missing: BTreeMap<(Scope, UnixMs), u64>,
    latest: BTreeMap<Scope, Newest>,
    /// True if messages come newest first, and after all that is stored.
    is_backwards: bool,
}

/// Paths of a project in a batch, and what it skipped.
#[derive(Default)]
pub(super) struct Paths {
    pub(super) places: HashMap<String, Place>,
    /// Start of the newest hour with a value, by place.
    pub(super) seen: Vec<UnixMs>,
    pub(super) skipped: Skipped,
}

/// Key of a row: device, path, width and start, each in the order of the table's key.
type Key = (ProjectId, DeviceId, PathId, Width, UnixMs);

fn newest(all: &mut BTreeMap<Scope, Newest>, scope: Scope, is_backwards: bool) -> &mut Newest {
    let fresh = || {
        if is_backwards {
            Newest::backwards()
        } else {
            Newest::default()
        }
    };
    all.entry(scope).or_insert_with(fresh)
}

impl Batch {
    /// Adds the numbers of messages that are being stored, but for those that wait to be rolled up with their device's
    /// older history.
    pub(super) async fn messages(&mut self, tx: &mut Conn, messages: &[&StoredMessage]) -> Result<()> {
        if messages.is_empty() {
            return Ok(());
        }
        let cursors = Cursors::of(tx, messages.iter().map(|message| message.scope)).await?;
        for message in messages {
            if message.kind == MessageKind::UserDefined && !cursors.cover(message) {
                let at = made_at(message.device_timestamp, message.timestamp);
                self.message(message.scope, at, message.payload.get());
            }
        }
        Ok(())
    }

    /// Returns one for messages that come newest first, and after all that is stored.
    pub(super) fn backwards() -> Self {
        Self {
            is_backwards: true,
            ..Self::default()
        }
    }

    /// Adds the numbers of a message, and its latest values.
    pub(super) fn message(&mut self, scope: Scope, at: UnixMs, payload: &str) {
        let paths = self.projects.entry(scope.project).or_default();
        let (minute, hour) = (Width::Minute.start(at), Width::Hour.start(at));
        let minutes = &mut self.minutes;
        let latest = newest(&mut self.latest, scope, self.is_backwards);
        let skipped = walk(payload, |path, found| {
            latest.put(path, found, at);
            let Found::Number(value) = found else { return };
            let place = match paths.places.get(path) {
                Some(place) => *place,
                None => {
                    paths.places.insert(path.to_owned(), paths.seen.len());
                    paths.seen.push(hour);
                    paths.seen.len() - 1
                }
            };
            paths.seen[place] = paths.seen[place].max(hour);
            minutes
                .entry((scope, place, minute))
                .and_modify(|rollup| rollup.add(value))
                .or_insert_with(|| Rollup::of(value));
        });
        paths.skipped.deep += skipped.deep;
        paths.skipped.named += skipped.named;
        paths.skipped.many += skipped.many;
        paths.skipped.great += skipped.great;
    }

    /// Adds the latest values of a message whose numbers are rolled up.
    pub(super) fn latest(&mut self, scope: Scope, at: UnixMs, payload: &str) {
        newest(&mut self.latest, scope, self.is_backwards).message(payload, at);
    }

    /// Counts messages that are missing in a device's history.
    pub(super) fn missing(&mut self, scope: Scope, at: UnixMs, count: u64) {
        let sum = self.missing.entry((scope, Width::Minute.start(at))).or_default();
        *sum = sum.saturating_add(count);
    }

    /// Writes what was added.
    pub(super) async fn write(self, tx: &mut Conn) -> Result<()> {
        let mut rows: BTreeMap<Key, Rollup> = BTreeMap::new();
        let ids = series_paths::resolve(tx, &self.projects, &self.minutes).await?;
        for ((scope, place, minute), rollup) in self.minutes {
            let Some(path) = ids.get(&(scope.project, place)) else {
                continue;
            };
            into_rows(&mut rows, (scope, *path, minute), &rollup);
        }
        for ((scope, minute), count) in self.missing {
            let rollup = Rollup::of(codec::signed(count) as f64);
            into_rows(&mut rows, (scope, series_paths::MISSING_ID, minute), &rollup);
        }
        latest::write(tx, self.latest).await?;
        let mut rows: Vec<_> = rows.into_iter().collect();
        let mut left = rows.as_mut_slice();
        for (size, (read, write)) in SIZES.into_iter().zip(READ.iter().zip(WRITE.iter())) {
            while left.len() >= size {
                let (chunk, rest) = std::mem::take(&mut left).split_at_mut(size);
                extend(tx, read.as_str(), chunk).await?;
                write_rows(tx, write.as_str(), chunk).await?;
                left = rest;
            }
        }
        Ok(())
    }
}

/// Adds the roll-up of a minute to the rows of its minute and its hour.
fn into_rows(
    rows: &mut BTreeMap<Key, Rollup>,
    (scope, path, minute): (Scope, PathId, UnixMs),
    more: &Rollup,
) {
    for width in Width::ALL {
        rows.entry((scope.project, scope.device, path, width, width.start(minute)))
            .and_modify(|rollup| rollup.merge(more))
            .or_insert_with(|| more.clone());
    }
}

/// Adds what is stored to the rows.
async fn extend(tx: &mut Conn, sql: &'static str, rows: &mut [(Key, Rollup)]) -> Result<()> {
    let mut query = sqlx::query(sql);
    for ((project, device, path, width, start), _) in rows.iter() {
        query = query
            .bind(codec::id(project))
            .bind(codec::id(device))
            .bind(path)
            .bind(width.ms())
            .bind(start);
    }
    for row in query.fetch_all(tx).await? {
        let device = DeviceId::from_bytes(codec::bytes(&row, "rollups", "device")?);
        let key = (
            device,
            codec::get::<PathId>(&row, "path")?,
            codec::get::<i64>(&row, "width")?,
            codec::get::<UnixMs>(&row, "start")?,
        );
        // Ids of devices are unique among all projects.
        let found = rows
            .iter_mut()
            .find(|((_, device, path, width, start), _)| (*device, *path, width.ms(), *start) == key);
        if let Some((_, rollup)) = found {
            let stored = rollup_of(&row)?;
            let more = std::mem::replace(rollup, stored);
            rollup.merge(&more);
        }
    }
    Ok(())
}

async fn write_rows(tx: &mut Conn, sql: &'static str, rows: &[(Key, Rollup)]) -> Result<()> {
    let mut query = sqlx::query(sql);
    for ((project, device, path, width, start), rollup) in rows {
        query = query
            .bind(codec::id(project))
            .bind(codec::id(device))
            .bind(path)
            .bind(width.ms())
            .bind(start)
            .bind(codec::signed(rollup.count))
            .bind(rollup.sum)
            .bind(rollup.min)
            .bind(rollup.max)
            .bind(rollup.packed());
    }
    query.execute(tx).await?;
    Ok(())
}

/// Reads a roll-up. A distribution that is damaged is left out: it must not keep new messages from being stored.
pub(super) fn rollup_of(row: &Row) -> Result<Rollup> {
    let count = codec::unsigned(codec::get(row, "n")?, "rollups", "n")?;
    let (sum, min, max) = (
        codec::get(row, "total")?,
        codec::get(row, "low")?,
        codec::get(row, "high")?,
    );
    match Rollup::stored(count, sum, min, max, codec::get(row, "sketch")?) {
        Ok(rollup) => Ok(rollup),
        Err(error) => {
            tracing::warn!(%error, "failed to read the distribution of a roll-up; its percentiles leave out these values");
            Rollup::stored(count, sum, min, max, &[])
                .map_err(|error| codec::corrupt("rollups", "sketch", error.to_string()))
        }
    }
}

/// Deletes roll-ups of a device that end at these times or earlier, by width; at most `limit`.
pub(super) async fn delete_older(
    tx: &mut Conn,
    scope: Scope,
    before: [UnixMs; Width::ALL.len()],
    limit: usize,
) -> Result<u64> {
    let mut deleted = 0;
    for (width, before) in Width::ALL.into_iter().zip(before) {
        // One range of the key for each path, so that nothing newer is read.
        let done = sqlx::query(
            "DELETE FROM rollups WHERE project = $1 AND device = $2 AND (path, width, start) IN \
             (SELECT r.path, r.width, r.start FROM (SELECT id FROM series WHERE project = $1 UNION ALL SELECT 0) p \
             CROSS JOIN rollups r WHERE r.project = $1 AND r.device = $2 AND r.path = p.id AND r.width = $3 AND r.start <= $4 LIMIT $5)",
        )
        .bind(codec::id(&scope.project))
        .bind(codec::id(&scope.device))
        .bind(width.ms())
        .bind(before.saturating_sub(width.ms()))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .execute(&mut *tx)
        .await?;
        deleted += done.rows_affected();
    }
    Ok(deleted)
}
