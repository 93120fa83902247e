//! Devices of a rollout in pages, and their counts. They are the devices that the rollout has notified, in whichever group
//! they are now, and the devices of its group. The counts come from the indexes of migration 32.

use std::sync::LazyLock;

use iottly_protocol::DeviceId;
use iottly_protocol::ProjectId;
use iottly_protocol::release::UpdateState;
use sqlx::{AssertSqlSafe, QueryBuilder};

use super::codec;
use super::db::{self, Db, Pool, Row};
use super::rollout_devices::directive_status;
use crate::Result;
use iottly_core::model::{Rollout, RolloutMember};
use iottly_core::rollout::{Alike, Place, exceptional_states, states_at, unreported};

/// Columns of a device of a rollout.
macro_rules! columns {
    ($in_group:literal) => {
        concat!(
            "SELECT d.id, d.name, d.online, d.directive_counter, CAST(",
            $in_group,
            " AS BIGINT) AS in_group, r.directive, r.counter, r.told, r.withdrawn, r.state, r.reason, r.detail, r.failures, \
             r.changed, r.steps, r.heard, r.faults, r.fault "
        )
    };
}

/// Devices of the group, behind an id; a condition and the limit `$5` follow.
const INSIDE: &str = concat!(
    columns!("1"),
    "FROM devices d LEFT JOIN rollout_devices r ON r.project = d.project AND r.device = d.id AND r.rollout = $2 \
     WHERE d.project = $1 AND d.group_id = $3 AND d.id > $4"
);

/// Devices elsewhere that were notified, behind an id and up to one; a condition and the limit `$6` follow.
const ELSEWHERE: &str = concat!(
    columns!("0"),
    "FROM rollout_devices r JOIN devices d ON d.project = r.project AND d.id = r.device \
     WHERE r.project = $1 AND r.rollout = $2 AND d.group_id <> $3 AND r.device > $4 AND r.device <= $5"
);

/// Returns the condition of devices at a place; empty for all devices.
fn at(place: Option<Place>) -> String {
    let Some(place) = place else {
        return String::new();
    };
    let mut ways = Vec::new();
    if place == Place::Waiting {
        ways.push("r.device IS NULL".to_owned());
    }
    for (withdrawn, sql) in [(false, "r.withdrawn IS NULL"), (true, "r.withdrawn IS NOT NULL")] {
        if unreported(withdrawn) == place {
            ways.push(format!("r.device IS NOT NULL AND r.state IS NULL AND {sql}"));
        }
    }
    let states = states_at(place);
    if !states.is_empty() {
        let words: Vec<_> = states
            .iter()
            .map(|state| format!("'{}'", state.as_str()))
            .collect();
        ways.push(format!("r.state IN ({})", words.join(", ")));
    }
    format!(" AND ({})", ways.join(" OR "))
}

/// Facts of the devices that their counts need, as far as possible from indexes.
static FACTS: LazyLock<String> = LazyLock::new(|| {
    let columns = "d.id, d.online, d.online_since, r.device AS told, r.state, r.withdrawn, r.reason, r.faults, r.changed";
    format!(
        "SELECT {columns} FROM devices d{grouped} LEFT JOIN rollout_devices r{states} \
         ON r.project = d.project AND r.device = d.id AND r.rollout = $2 \
         WHERE d.project = $1 AND d.group_id = $3 UNION ALL \
         SELECT {columns} FROM rollout_devices r{states} JOIN devices d ON d.project = r.project AND d.id = r.device \
         WHERE r.project = $1 AND r.rollout = $2 AND d.group_id <> $3",
        states = db::STATES,
        grouped = db::GROUPED
    )
});

fn counted(part: &str) -> String {
    format!(
        "SELECT part, told, state, withdrawn, reasoned, online, count(*) AS n, CAST(sum(coalesce(faults, 0)) AS BIGINT) AS faults, \
         coalesce(max(changed), 0) AS changed, coalesce(max(online_since), 0) AS since FROM (SELECT {part} AS part, \
         CAST(CASE WHEN told IS NULL THEN 0 ELSE 1 END AS BIGINT) AS told, state, \
         CAST(CASE WHEN withdrawn IS NULL THEN 0 ELSE 1 END AS BIGINT) AS withdrawn, \
         CAST(CASE WHEN reason IS NULL THEN 0 ELSE 1 END AS BIGINT) AS reasoned, online, faults, changed, online_since \
         FROM ({facts}) f) g GROUP BY part, told, state, withdrawn, reasoned, online ORDER BY 1, 2, 3, 4, 5, 6",
        facts = *FACTS
    )
}

static COUNTS: LazyLock<String> = LazyLock::new(|| counted("CAST(0 AS BIGINT)"));
static PARTS: LazyLock<String> =
    LazyLock::new(|| counted("CAST((row_number() OVER (ORDER BY id) - 1) / $4 AS BIGINT)"));

/// Returns the first `limit` devices at a place behind an id, by id.
pub(super) async fn page(
    pool: &Pool,
    project: ProjectId,
    rollout: &Rollout,
    place: Option<Place>,
    after: Option<DeviceId>,
    limit: usize,
) -> Result<Vec<RolloutMember>> {
    let after = after.map(|id| codec::id(&id).to_vec()).unwrap_or_default();
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let at = at(place);
    let mut tx = db::snapshot(pool).await?;
    // The condition contains only words of this program.
    let rows = sqlx::query(AssertSqlSafe(format!("{INSIDE}{at} ORDER BY d.id LIMIT $5")))
        .bind(codec::id(&project))
        .bind(codec::id(&rollout.id))
        .bind(codec::id(&rollout.group))
        .bind(&after)
        .bind(most)
        .fetch_all(&mut *tx)
        .await?;
    let mut members = rows.iter().map(member).collect::<Result<Vec<_>>>()?;
    // Those behind the last one of a full page are not looked for: most that were notified are in the group.
    let last = members.last().filter(|_| members.len() >= limit);
    let until = last.map_or([0xff; 16], |last| *last.device.as_bytes());
    let rows = sqlx::query(AssertSqlSafe(format!(
        "{ELSEWHERE}{at} ORDER BY r.device LIMIT $6"
    )))
    .bind(codec::id(&project))
    .bind(codec::id(&rollout.id))
    .bind(codec::id(&rollout.group))
    .bind(&after)
    .bind(&until[..])
    .bind(most)
    .fetch_all(&mut *tx)
    .await?;
    for row in &rows {
        members.push(member(row)?);
    }
    members.sort_unstable_by_key(|member| member.device);
    members.truncate(limit);
    Ok(members)
}

/// Returns the first `limit` devices that have not gone as planned, or have reported a reason, by id. Only a device that was
/// notified can have either.
pub(super) async fn exceptions(
    pool: &Pool,
    project: ProjectId,
    rollout: &Rollout,
    limit: usize,
) -> Result<Vec<RolloutMember>> {
    let mut query = QueryBuilder::<Db>::new(
        "SELECT d.id, d.name, d.online, d.directive_counter, CAST(CASE WHEN d.group_id = ",
    );
    query.push_bind(codec::id(&rollout.group).to_vec());
    query.push(
        " THEN 1 ELSE 0 END AS BIGINT) AS in_group, r.directive, r.counter, r.told, r.withdrawn, r.state, r.reason, r.detail, \
         r.failures, r.changed, r.steps, r.heard, r.faults, r.fault \
         FROM (SELECT project, rollout, device FROM rollout_devices",
    );
    // The rows are read once the few are found.
    query.push(db::STATES).push(" WHERE project = ");
    query.push_bind(codec::id(&project).to_vec());
    query
        .push(" AND rollout = ")
        .push_bind(codec::id(&rollout.id).to_vec());
    query.push(" AND (reason IS NOT NULL OR state IN (");
    let mut list = query.separated(", ");
    for state in exceptional_states() {
        list.push_bind(state.as_str());
    }
    query.push(")) ORDER BY device LIMIT ");
    query.push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
    query.push(
        ") x JOIN rollout_devices r ON r.project = x.project AND r.rollout = x.rollout AND r.device = x.device \
         JOIN devices d ON d.project = r.project AND d.id = r.device ORDER BY d.id",
    );
    query.build().fetch_all(pool).await?.iter().map(member).collect()
}

/// Returns the devices, counted: those that are alike together, in parts of `part` devices.
pub(super) async fn counts(
    pool: &Pool,
    project: ProjectId,
    rollout: &Rollout,
    part: Option<u64>,
) -> Result<Vec<Alike>> {
    let sql = if part.is_some() { &*PARTS } else { &*COUNTS };
    let mut query = sqlx::query(sql.as_str())
        .bind(codec::id(&project))
        .bind(codec::id(&rollout.id))
        .bind(codec::id(&rollout.group));
    if let Some(part) = part {
        query = query.bind(i64::try_from(part.max(1)).unwrap_or(i64::MAX));
    }
    query.fetch_all(pool).await?.iter().map(alike).collect()
}

fn alike(row: &Row) -> Result<Alike> {
    let number = |field| codec::unsigned(codec::get(row, field)?, "rollout_devices", field);
    let state = codec::get::<Option<&str>>(row, "state")?;
    let unknown = |word: &str| codec::corrupt("rollout_devices", "state", format!("unknown word {word:?}"));
    Ok(Alike {
        count: number("n")?,
        part: number("part")?,
        notified: number("told")? == 1,
        state: state
            .map(|word| UpdateState::named(word).ok_or_else(|| unknown(word)))
            .transpose()?,
        withdrawn: number("withdrawn")? == 1,
        reasoned: number("reasoned")? == 1,
        online: codec::get(row, "online")?,
        faults: number("faults")?,
        changed: codec::get(row, "changed")?,
        online_since: codec::get(row, "since")?,
    })
}

fn member(row: &Row) -> Result<RolloutMember> {
    let directive = match codec::get::<Option<String>>(row, "directive")? {
        Some(id) => Some(directive_status(row, id)?),
        None => None,
    };
    Ok(RolloutMember {
        device: DeviceId::from_bytes(codec::bytes(row, "devices", "id")?),
        name: codec::get(row, "name")?,
        online: codec::get(row, "online")?,
        in_group: codec::get::<i64>(row, "in_group")? == 1,
        counter: codec::unsigned(
            codec::get(row, "directive_counter")?,
            "devices",
            "directive_counter",
        )?,
        directive,
    })
}
