//! Paths of the series of a project: their ids, their bound, and what exceeded it.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use iottly_protocol::ProjectId;

use super::db::{Conn, Pool};
use super::rollups::Paths;
use super::{codec, multi_row};
use crate::Result;
use iottly_core::model::{Scope, UnixMs};
use iottly_core::series::{MAX_PATHS, Rollup};

/// Id of a path within its project.
pub(super) type PathId = i64;

/// Id of the series that counts missing messages; it has no row.
pub(super) const MISSING_ID: PathId = 0;

/// Numbers of paths of the statements that read ids.
const SIZES: [usize; 3] = [16, 4, 1];
static READ: LazyLock<[String; SIZES.len()]> = LazyLock::new(|| {
    SIZES.map(|rows| {
        format!(
            "WITH v(p, t) AS (VALUES {}) SELECT project, path, id, seen FROM v CROSS JOIN series \
             WHERE project = v.p AND path = v.t",
            multi_row::rows(2, rows)
        )
    })
});

/// Path as a project and the path's place in the batch know it.
type Used<'a> = ((ProjectId, usize), &'a str);
type Known = HashMap<(ProjectId, String), (PathId, UnixMs)>;

/// Returns the ids of the paths of a batch. New paths get one while their project has room; what has none is counted.
pub(super) async fn resolve(
    tx: &mut Conn,
    projects: &HashMap<ProjectId, Paths>,
    minutes: &HashMap<(Scope, usize, UnixMs), Rollup>,
) -> Result<HashMap<(ProjectId, usize), PathId>> {
    // Ordered, so that two transactions never deadlock.
    let projects: BTreeMap<_, _> = projects.iter().collect();
    let used: Vec<Used<'_>> = projects
        .iter()
        .flat_map(|(project, paths)| {
            let mut places: Vec<_> = paths.places.iter().collect();
            places.sort_unstable();
            places
                .into_iter()
                .map(|(path, at)| ((**project, *at), path.as_str()))
                .collect::<Vec<_>>()
        })
        .collect();
    let known = read(tx, &used).await?;
    let mut ids = HashMap::with_capacity(used.len());
    let mut new: BTreeMap<ProjectId, Vec<(usize, &str)>> = BTreeMap::new();
    for ((project, place), path) in &used {
        let hour = projects[project].seen[*place];
        match known.get(&(*project, (*path).to_owned())) {
            Some((id, seen)) => {
                ids.insert((*project, *place), *id);
                if hour > *seen {
                    touch(tx, *project, path, hour).await?;
                }
            }
            None => new.entry(*project).or_default().push((*place, path)),
        }
    }
    for (project, paths) in projects {
        let new = new.remove(project).unwrap_or_default();
        if new.is_empty() && paths.skipped.all() == 0 {
            continue;
        }
        add(tx, (*project, paths), &new, minutes, &mut ids).await?;
    }
    Ok(ids)
}

async fn read(tx: &mut Conn, used: &[Used<'_>]) -> Result<Known> {
    let mut known = Known::with_capacity(used.len());
    let mut left = used;
    for (size, sql) in SIZES.into_iter().zip(READ.iter()) {
        while let Some((chunk, rest)) = left.split_at_checked(size) {
            left = rest;
            let mut query = sqlx::query(sql.as_str());
            for ((project, _), path) in chunk {
                query = query.bind(codec::id(project)).bind(*path);
            }
            for row in query.fetch_all(&mut *tx).await? {
                let key = (
                    codec::project(&row, "series", "project")?,
                    codec::get(&row, "path")?,
                );
                known.insert(key, (codec::get(&row, "id")?, codec::get(&row, "seen")?));
            }
        }
    }
    Ok(known)
}

async fn touch(tx: &mut Conn, project: ProjectId, path: &str, hour: UnixMs) -> Result<()> {
    sqlx::query("UPDATE series SET seen = $3 WHERE project = $1 AND path = $2 AND seen < $3")
        .bind(codec::id(&project))
        .bind(path)
        .bind(hour)
        .execute(tx)
        .await?;
    Ok(())
}

/// Gives ids to new paths of a project, and counts what became no series.
async fn add(
    tx: &mut Conn,
    (project, paths): (ProjectId, &Paths),
    new: &[(usize, &str)],
    minutes: &HashMap<(Scope, usize, UnixMs), Rollup>,
    ids: &mut HashMap<(ProjectId, usize), PathId>,
) -> Result<()> {
    // The statement locks the row: others add their paths before or after.
    let row = sqlx::query(
        "INSERT INTO series_counts (project, next_id, kept, deep, named, many, great) VALUES ($1, 1, 0, $2, $3, $4, $5) \
         ON CONFLICT (project) DO UPDATE SET deep = series_counts.deep + excluded.deep, named = series_counts.named + excluded.named, \
         many = series_counts.many + excluded.many, great = series_counts.great + excluded.great RETURNING next_id, kept",
    )
    .bind(codec::id(&project))
    .bind(codec::signed(paths.skipped.deep))
    .bind(codec::signed(paths.skipped.named))
    .bind(codec::signed(paths.skipped.many))
    .bind(codec::signed(paths.skipped.great))
    .fetch_one(&mut *tx)
    .await?;
    let (mut next, mut kept): (PathId, i64) = (codec::get(&row, "next_id")?, codec::get(&row, "kept")?);
    let used: Vec<_> = new
        .iter()
        .map(|(place, path)| ((project, *place), *path))
        .collect();
    let known = read(tx, &used).await?;
    let mut refused = 0_u64;
    for (place, path) in new {
        if let Some((id, _)) = known.get(&(project, (*path).to_owned())) {
            ids.insert((project, *place), *id);
        } else if kept >= MAX_PATHS as i64 {
            let values = minutes
                .iter()
                .filter(|((scope, at, _), _)| scope.project == project && at == place);
            refused += values.map(|(_, rollup)| rollup.count).sum::<u64>();
        } else {
            sqlx::query("INSERT INTO series (project, path, id, seen) VALUES ($1, $2, $3, $4)")
                .bind(codec::id(&project))
                .bind(*path)
                .bind(next)
                .bind(paths.seen[*place])
                .execute(&mut *tx)
                .await?;
            ids.insert((project, *place), next);
            (next, kept) = (next + 1, kept + 1);
        }
    }
    sqlx::query(
        "UPDATE series_counts SET next_id = $2, kept = $3, refused = refused + $4 WHERE project = $1",
    )
    .bind(codec::id(&project))
    .bind(next)
    .bind(kept)
    .bind(codec::signed(refused))
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// Returns the paths of a project without a value since `before` and without roll-ups.
pub(super) async fn unused(pool: &Pool, project: ProjectId, before: UnixMs) -> Result<Vec<PathId>> {
    let rows = sqlx::query(
        "SELECT s.id FROM series s WHERE s.project = $1 AND s.seen < $2 AND NOT EXISTS (SELECT 1 FROM devices d \
         CROSS JOIN rollups r WHERE d.project = $1 AND r.project = $1 AND r.device = d.id AND r.path = s.id)",
    )
    .bind(codec::id(&project))
    .bind(before)
    .fetch_all(pool)
    .await?;
    rows.iter().map(|row| codec::get(row, "id")).collect()
}

/// Forgets paths of a project, unless they have had a value since `before`.
pub(super) async fn forget(
    tx: &mut Conn,
    project: ProjectId,
    paths: &[PathId],
    before: UnixMs,
) -> Result<()> {
    let mut forgotten = 0;
    for path in paths {
        let done = sqlx::query("DELETE FROM series WHERE project = $1 AND id = $2 AND seen < $3")
            .bind(codec::id(&project))
            .bind(path)
            .bind(before)
            .execute(&mut *tx)
            .await?;
        forgotten += done.rows_affected();
    }
    if forgotten > 0 {
        sqlx::query("UPDATE series_counts SET kept = kept - $2 WHERE project = $1")
            .bind(codec::id(&project))
            .bind(codec::signed(forgotten))
            .execute(tx)
            .await?;
    }
    Ok(())
}
