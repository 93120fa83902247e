//! Queries for series, and the upkeep of roll-ups.

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use iottly_protocol::{DeviceId, GroupId, ProjectId};
use sqlx::QueryBuilder;

use super::db::{self, Db, Row};
use super::series_paths::{MISSING_ID, PathId};
use super::{Backend, codec, rollups, series_fill, series_paths};
use crate::{LinesQuery, OldRollups, Result, Selection, SeriesList, SeriesPath, SeriesStore};
use iottly_core::model::{Scope, UnixMs};
use iottly_core::series::{Bucket, Line, MAX_PATHS, MISSING, Rollup, Sketch, Skipped, Split, Width};

/// The next devices, each with 1 if it has roll-ups that began at or before the ends, of minutes and of hours. Each path is
/// one search in the key for each width, regardless of the number of its roll-ups.
const OLD: &str = "SELECT d.project, d.id, CASE WHEN EXISTS (SELECT 1 FROM (SELECT s.id FROM series s WHERE s.project = d.project \
                   UNION ALL SELECT 0) p CROSS JOIN rollups r WHERE r.project = d.project AND r.device = d.id AND r.path = p.id \
                   AND r.width = 60000 AND r.start <= $4) OR EXISTS (SELECT 1 FROM (SELECT s.id FROM series s \
                   WHERE s.project = d.project UNION ALL SELECT 0) p CROSS JOIN rollups r WHERE r.project = d.project \
                   AND r.device = d.id AND r.path = p.id AND r.width = 3600000 AND r.start <= $5) THEN CAST(1 AS BIGINT) ELSE 0 END AS old FROM \
                   (SELECT project, id FROM devices WHERE (project, id) > ($1, $2) ORDER BY project, id LIMIT $3) d \
                   ORDER BY d.project, d.id";

/// The paths of a project of which a device has roll-ups. Each path is one search in the key, regardless of the number of
/// its roll-ups; those of hours are kept the longest.
const OF_DEVICE: &str = "SELECT path, seen FROM (SELECT s.path, (SELECT max(r.start) FROM rollups r WHERE r.project = s.project \
                         AND r.device = $2 AND r.path = s.id AND r.width = 3600000) AS seen FROM series s WHERE s.project = $1) known \
                         WHERE seen IS NOT NULL ORDER BY path LIMIT $3";

/// Returns the latest start of a roll-up that is kept no longer, for each width.
fn ends(now: UnixMs) -> [UnixMs; Width::ALL.len()] {
    Width::ALL.map(|width| now.saturating_sub(width.kept_ms()).saturating_sub(width.ms()))
}

/// Buckets of lines, by key of the line and start of the step.
type Steps = BTreeMap<(Vec<u8>, UnixMs), Rollup>;

#[async_trait]
impl SeriesStore for Backend {
    async fn series(&self, project: ProjectId) -> Result<SeriesList> {
        let mut tx = db::snapshot(&self.readers).await?;
        let id = codec::id(&project);
        let rows = sqlx::query("SELECT path, seen FROM series WHERE project = $1 ORDER BY path LIMIT $2")
            .bind(id)
            .bind(MAX_PATHS as i64)
            .fetch_all(&mut *tx)
            .await?;
        let paths = rows.iter().map(path).collect::<Result<_>>()?;
        let counts =
            sqlx::query("SELECT deep, named, many, great, refused FROM series_counts WHERE project = $1")
                .bind(id)
                .fetch_optional(&mut *tx)
                .await?;
        let filling = sqlx::query("SELECT count(*) AS n FROM series_fills WHERE project = $1")
            .bind(id)
            .fetch_one(&mut *tx)
            .await?;
        let mut list = SeriesList {
            paths,
            filling: codec::unsigned(codec::get(&filling, "n")?, "series_fills", "n")?,
            ..SeriesList::default()
        };
        if let Some(row) = counts {
            let count = |field| codec::unsigned(codec::get(&row, field)?, "series_counts", field);
            list.refused = count("refused")?;
            list.skipped = Skipped {
                deep: count("deep")?,
                named: count("named")?,
                many: count("many")?,
                great: count("great")?,
            };
        }
        Ok(list)
    }

    async fn series_of(&self, scope: Scope) -> Result<Vec<SeriesPath>> {
        let rows = sqlx::query(OF_DEVICE)
            .bind(codec::id(&scope.project))
            .bind(codec::id(&scope.device))
            .bind(MAX_PATHS as i64)
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(path).collect()
    }

    async fn count_selected(&self, project: ProjectId, selection: &Selection) -> Result<(usize, usize)> {
        let mut query = QueryBuilder::new(
            "SELECT count(*) AS devices, count(DISTINCT d.group_id) AS groups FROM devices d WHERE d.project = ",
        );
        query.push_bind(project.as_bytes().to_vec());
        select(&mut query, selection);
        let row = query.build().fetch_one(&self.readers).await?;
        let count = |field| codec::unsigned(codec::get(&row, field)?, "devices", field);
        let size = |count| usize::try_from(count).unwrap_or(usize::MAX);
        Ok((size(count("devices")?), size(count("groups")?)))
    }

    async fn lines(&self, project: ProjectId, query: &LinesQuery) -> Result<Vec<Line>> {
        let path = self.path_id(project, &query.path).await?;
        let mut lines: BTreeMap<Vec<u8>, Line> = BTreeMap::new();
        let steps = match path {
            Some(path) if query.distributions => self.merged(project, path, query).await?,
            Some(path) => self.summed(project, path, query).await?,
            None => Steps::new(),
        };
        for ((key, at), rollup) in steps {
            let line = lines.entry(key).or_insert_with_key(|key| empty(query.split, key));
            line.buckets.push(Bucket { at, rollup });
        }
        for ((key, at), rollup) in self.summed(project, MISSING_ID, query).await? {
            // A sum of counts, none of which is negative.
            let count = rollup.sum as u64;
            // Devices without a value in this time have no line to break.
            if let Some(line) = lines.get_mut(&key) {
                line.missing.push((at, count));
            }
        }
        Ok(lines.into_values().collect())
    }

    async fn fill_series(&self, limit: usize) -> Result<bool> {
        let mut writer = self.write().await?;
        let mut tx = db::begin(&mut writer).await?;
        let more = series_fill::step(&mut tx, limit).await?;
        tx.commit().await?;
        Ok(more)
    }

    async fn old_rollups(&self, after: Option<Scope>, devices: usize, now: UnixMs) -> Result<OldRollups> {
        let (project, device) = after.map_or(([0; 12], [0; 16]), |scope| {
            (*scope.project.as_bytes(), *scope.device.as_bytes())
        });
        let [minutes, hours] = ends(now);
        let rows = sqlx::query(OLD)
            .bind(&project[..])
            .bind(&device[..])
            .bind(i64::try_from(devices).unwrap_or(i64::MAX))
            .bind(minutes)
            .bind(hours)
            .fetch_all(&self.readers)
            .await?;
        let mut old = OldRollups {
            devices: Vec::new(),
            projects: Vec::new(),
            last: None,
        };
        for row in &rows {
            let scope = codec::scope(row, "devices", "id")?;
            if codec::get::<i64>(row, "old")? > 0 {
                old.devices.push(scope);
            }
            if old.projects.last() != Some(&scope.project) {
                old.projects.push(scope.project);
            }
            old.last = Some(scope);
        }
        Ok(old)
    }

    async fn prune_rollups(&self, scope: Scope, now: UnixMs, limit: usize) -> Result<bool> {
        let mut writer = self.write().await?;
        let mut tx = db::begin(&mut writer).await?;
        let before = Width::ALL.map(|width| now.saturating_sub(width.kept_ms()));
        let deleted = rollups::delete_older(&mut tx, scope, before, limit).await?;
        tx.commit().await?;
        Ok(deleted >= limit as u64)
    }

    async fn forget_series(&self, project: ProjectId, now: UnixMs) -> Result<()> {
        let before = now.saturating_sub(Width::Hour.kept_ms());
        let paths = series_paths::unused(&self.readers, project, before).await?;
        if paths.is_empty() {
            return Ok(());
        }
        let mut writer = self.write().await?;
        let mut tx = db::begin(&mut writer).await?;
        series_paths::forget(&mut tx, project, &paths, before).await?;
        Ok(tx.commit().await?)
    }
}

impl Backend {
    async fn path_id(&self, project: ProjectId, path: &str) -> Result<Option<PathId>> {
        if path == MISSING {
            return Ok(Some(MISSING_ID));
        }
        let row = sqlx::query("SELECT id FROM series WHERE project = $1 AND path = $2")
            .bind(codec::id(&project))
            .bind(codec::text(path))
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(|row| codec::get(row, "id")).transpose()
    }

    /// Returns the steps without distributions: the database adds up.
    async fn summed(&self, project: ProjectId, path: PathId, asked: &LinesQuery) -> Result<Steps> {
        let mut query = QueryBuilder::new("SELECT ");
        query.push(key(asked.split));
        query.push(" AS line, r.start / ").push_bind(asked.step_ms);
        query.push(
            " AS step, CAST(sum(r.n) AS BIGINT) AS n, sum(r.total) AS total, min(r.low) AS low, max(r.high) AS high",
        );
        of_devices(&mut query, project, path, asked);
        query.push(" GROUP BY 1, 2");
        let mut rows = query.build().fetch(&self.readers);
        let mut steps = Steps::new();
        while let Some(row) = rows.try_next().await? {
            let step: i64 = codec::get(&row, "step")?;
            let count = codec::unsigned(codec::get(&row, "n")?, "rollups", "n")?;
            let (sum, min, max) = (
                codec::get(&row, "total")?,
                codec::get(&row, "low")?,
                codec::get(&row, "high")?,
            );
            let rollup = Rollup::stored(count, sum, min, max, &[])
                .map_err(|error| codec::corrupt("rollups", "sketch", error.to_string()))?;
            steps.insert((codec::get(&row, "line")?, step * asked.step_ms), rollup);
        }
        Ok(steps)
    }

    /// Returns the steps with distributions, which the database cannot merge: it adds up the numbers, and lists the
    /// distributions of a step in one text, because a row of its own for each would cost more time than its merging.
    async fn merged(&self, project: ProjectId, path: PathId, asked: &LinesQuery) -> Result<Steps> {
        let real = |column: &str| format!("{}{column}{}", db::REAL.0, db::REAL.1);
        let parts = format!(
            "CASE WHEN r.n = 1 THEN ':' || {low} WHEN r.n = 2 THEN ':' || {low} || ' ' || {high} ELSE {}r.sketch{} END",
            db::HEX.0,
            db::HEX.1,
            low = real("r.low"),
            high = real("r.high"),
        );
        let mut query = QueryBuilder::new("SELECT ");
        query.push(key(asked.split));
        query.push(" AS line, r.start / ").push_bind(asked.step_ms);
        query.push(
            " AS step, CAST(sum(r.n) AS BIGINT) AS n, sum(r.total) AS total, min(r.low) AS low, max(r.high) AS high, ",
        );
        query.push(format!("{}{parts}, ',') AS parts", db::JOINED));
        of_devices(&mut query, project, path, asked);
        query.push(" GROUP BY 1, 2");
        let mut rows = query.build().fetch(&self.readers);
        let mut steps = Steps::new();
        while let Some(row) = rows.try_next().await? {
            let step: i64 = codec::get(&row, "step")?;
            let rollup = Rollup::gathered(
                codec::unsigned(codec::get(&row, "n")?, "rollups", "n")?,
                codec::get(&row, "total")?,
                codec::get(&row, "low")?,
                codec::get(&row, "high")?,
                sketch(codec::get(&row, "parts")?),
            );
            steps.insert((codec::get(&row, "line")?, step * asked.step_ms), rollup);
        }
        Ok(steps)
    }
}

/// Merges the distributions of a step: each is written as hex digits, or as one or two values behind a colon. A damaged one
/// is left out.
fn sketch(parts: &str) -> Sketch {
    let (mut merged, mut bytes) = (Sketch::default(), Vec::new());
    for part in parts.split(',') {
        if let Some(values) = part.strip_prefix(':') {
            for value in values.split(' ').filter_map(|value| value.parse().ok()) {
                merged.add(value);
            }
            continue;
        }
        bytes.clear();
        bytes.extend(codec::hex_bytes(part));
        match Sketch::unpack(&bytes) {
            Ok(sketch) => merged.merge(&sketch),
            Err(error) => {
                tracing::warn!(%error, "failed to read the distribution of a roll-up; its percentiles leave out these values");
            }
        }
    }
    merged
}

fn path(row: &Row) -> Result<SeriesPath> {
    Ok(SeriesPath {
        path: codec::get(row, "path")?,
        seen: codec::get(row, "seen")?,
    })
}

/// Returns the column that tells the lines apart.
const fn key(split: Split) -> &'static str {
    match split {
        Split::None => "d.project",
        Split::Device => "d.id",
        Split::Group => "d.group_id",
    }
}

/// Adds the roll-ups of the selected devices, each device's a range of the key.
fn of_devices(query: &mut QueryBuilder<Db>, project: ProjectId, path: PathId, asked: &LinesQuery) {
    query.push(" FROM devices d CROSS JOIN rollups r WHERE d.project = ");
    query.push_bind(project.as_bytes().to_vec());
    select(query, &asked.selection);
    query
        .push(" AND r.project = d.project AND r.device = d.id AND r.path = ")
        .push_bind(path);
    query.push(" AND r.width = ").push_bind(asked.width.ms());
    query.push(" AND r.start >= ").push_bind(asked.range.from);
    query.push(" AND r.start < ").push_bind(asked.range.to);
}

fn select(query: &mut QueryBuilder<Db>, selection: &Selection) {
    let mut one_of = |column: &'static str, ids: Vec<Vec<u8>>| {
        if !ids.is_empty() {
            query.push(column).push(" IN (");
            let mut list = query.separated(", ");
            for id in ids {
                list.push_bind(id);
            }
            query.push(")");
        }
    };
    one_of(
        " AND d.id",
        selection
            .devices
            .iter()
            .map(|id| id.as_bytes().to_vec())
            .collect(),
    );
    one_of(
        " AND d.group_id",
        selection.groups.iter().map(|id| id.as_bytes().to_vec()).collect(),
    );
}

fn empty(split: Split, key: &[u8]) -> Line {
    let key = match split {
        Split::None => None,
        Split::Device => key
            .try_into()
            .ok()
            .map(|bytes| DeviceId::from_bytes(bytes).to_string()),
        Split::Group => key
            .try_into()
            .ok()
            .map(|bytes| GroupId::from_bytes(bytes).to_string()),
    };
    Line {
        key,
        buckets: Vec::new(),
        missing: Vec::new(),
    }
}
