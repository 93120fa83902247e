//! Maintenance of rollouts: the steady clock, the releases still needed, and deletion of old rollouts.

use std::collections::{BTreeSet, HashMap};

use iottly_protocol::{GroupId, ProjectId};

use super::codec;
use super::db::{self, Conn, Pool};
use crate::Result;

/// Number of rollouts stored per project in addition to active ones, those shown by a group, and its
/// successes.
const KEPT_ROLLOUTS: i64 = 200;
/// Number of successful rollouts stored per group; they include the releases that the group may return to.
const KEPT_SUCCESSES: i64 = 100;
/// Number of release rows stored per project in addition to those that a rollout refers to.
const KEPT_ROWS: i64 = 1000;
/// Number of different releases that a group may return to.
const STEPS_BACK: usize = 3;

/// Advances the database's steady clock to `at`, in milliseconds. Returns its time.
pub(super) async fn advance(connection: &mut Conn, at: u64) -> Result<u64> {
    let row = sqlx::query(
        "INSERT INTO steady_clock (id, at) VALUES (1, $1) \
         ON CONFLICT (id) DO UPDATE SET at = CASE WHEN steady_clock.at > excluded.at THEN steady_clock.at ELSE excluded.at END \
         RETURNING at",
    )
    .bind(codec::signed(at))
    .fetch_one(connection)
    .await?;
    codec::unsigned(codec::get(&row, "at")?, "steady_clock", "at")
}

/// Returns the time of the database's steady clock in milliseconds; none before its first start.
pub(super) async fn clock(pool: &Pool) -> Result<Option<u64>> {
    let row = sqlx::query("SELECT at FROM steady_clock WHERE id = 1")
        .fetch_optional(pool)
        .await?;
    row.map(|row| codec::unsigned(codec::get(&row, "at")?, "steady_clock", "at"))
        .transpose()
}

/// Returns the releases that devices may still be directed to install: those of active rollouts, and those
/// that groups run or may return to.
pub(super) async fn needed(pool: &Pool, project: ProjectId) -> Result<BTreeSet<u64>> {
    let mut tx = db::snapshot(pool).await?;
    let mut needed = BTreeSet::new();
    let rows = sqlx::query(
        "SELECT release_seq FROM rollouts WHERE project = $1 \
         AND (active = 1 OR id IN (SELECT rollout FROM groups WHERE project = $1 AND rollout IS NOT NULL))",
    )
    .bind(codec::id(&project))
    .fetch_all(&mut *tx)
    .await?;
    for row in &rows {
        needed.insert(codec::unsigned(
            codec::get(row, "release_seq")?,
            "rollouts",
            "release_seq",
        )?);
    }
    let rows = sqlx::query(
        "SELECT o.group_id, max(r.seq) AS seq, max(o.number) AS newest FROM rollouts o \
         JOIN releases r ON r.project = o.project AND r.seq = o.release_seq \
         JOIN groups g ON g.project = o.project AND g.id = o.group_id \
         WHERE o.project = $1 AND o.status IN ('deployed', 'rolled_back') \
         GROUP BY o.group_id, r.sha256 ORDER BY newest DESC",
    )
    .bind(codec::id(&project))
    .fetch_all(&mut *tx)
    .await?;
    let mut steps: HashMap<GroupId, usize> = HashMap::new();
    for row in &rows {
        let taken = steps
            .entry(codec::group(row, "rollouts", "group_id")?)
            .or_default();
        *taken += 1;
        if *taken <= STEPS_BACK {
            needed.insert(codec::unsigned(codec::get(row, "seq")?, "releases", "seq")?);
        }
    }
    Ok(needed)
}

/// Deletes at most `limit` of the project's oldest rollouts that have ended, and releases that nothing refers
/// to. Returns their number.
pub(super) async fn tidy(connection: &mut Conn, project: ProjectId, limit: usize) -> Result<u64> {
    let mut tx = db::begin(connection).await?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = sqlx::query(
        "SELECT o.id FROM rollouts o WHERE o.project = $1 AND o.active = 0 \
         AND o.number <= (SELECT max(number) FROM rollouts WHERE project = $1) - $2 \
         AND o.id NOT IN (SELECT rollout FROM groups WHERE project = $1 AND rollout IS NOT NULL) \
         AND (o.status NOT IN ('deployed', 'rolled_back') \
         OR NOT EXISTS (SELECT 1 FROM groups g WHERE g.project = $1 AND g.id = o.group_id) \
         OR (SELECT count(*) FROM rollouts n WHERE n.project = $1 AND n.group_id = o.group_id AND n.number > o.number \
         AND n.status IN ('deployed', 'rolled_back')) >= $4) ORDER BY o.number LIMIT $3",
    )
    .bind(codec::id(&project))
    .bind(KEPT_ROLLOUTS)
    .bind(limit)
    .bind(KEPT_SUCCESSES)
    .fetch_all(&mut *tx)
    .await?;
    for row in &rows {
        let id: [u8; 16] = codec::bytes(row, "rollouts", "id")?;
        for sql in [
            "DELETE FROM rollout_devices WHERE project = $1 AND rollout = $2",
            "DELETE FROM rollouts WHERE project = $1 AND id = $2",
        ] {
            sqlx::query(sql)
                .bind(codec::id(&project))
                .bind(&id[..])
                .execute(&mut *tx)
                .await?;
        }
    }
    let done = sqlx::query(
        "DELETE FROM releases WHERE project = $1 AND seq IN (SELECT seq FROM releases r WHERE r.project = $1 \
         AND r.seq <= (SELECT max(seq) FROM releases WHERE project = $1) - $2 \
         AND NOT EXISTS (SELECT 1 FROM rollouts o WHERE o.project = $1 AND o.release_seq = r.seq) ORDER BY r.seq LIMIT $3)",
    )
    .bind(codec::id(&project))
    .bind(KEPT_ROWS)
    .bind(limit)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(rows.len() as u64 + done.rows_affected())
}
