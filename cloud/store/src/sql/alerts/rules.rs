//! Rules that raise alerts, and mutes.

use iottly_protocol::{DeviceId, GroupId, ProjectId};

use super::super::db::{Conn, Pool, Row};
use super::super::{codec, full, missing};
use crate::{Result, StoreError};
use iottly_core::model::{AlertId, AlertRule, AlertRuleId, AlertTarget, Condition, MAX_ALERT_RULES, UnixMs};

const RULES: &str = "SELECT project, id, name, condition, after_ms, filter, clear_filter, target_kind, target, mails, muted_until, \
                     created, unexamined FROM alert_rules WHERE project = $1 ORDER BY name, id";

pub(super) async fn all(pool: &Pool, project: ProjectId) -> Result<Vec<AlertRule>> {
    let rows = sqlx::query(RULES)
        .bind(codec::id(&project))
        .fetch_all(pool)
        .await?;
    rows.iter().map(rule).collect()
}

/// Returns the rules of a project as the transaction sees them.
pub(super) async fn within(tx: &mut Conn, project: ProjectId) -> Result<Vec<AlertRule>> {
    let rows = sqlx::query(RULES).bind(codec::id(&project)).fetch_all(tx).await?;
    rows.iter().map(rule).collect()
}

fn rule(row: &Row) -> Result<AlertRule> {
    let name: &str = codec::get(row, "condition")?;
    let (after, filter, clear) = (
        codec::get(row, "after_ms")?,
        codec::get(row, "filter")?,
        codec::get(row, "clear_filter")?,
    );
    let condition = Condition::new(name, after, filter, clear)
        .map_err(|error| codec::corrupt("alert_rules", "condition", error.to_string()))?;
    let target = match codec::get::<i64>(row, "target_kind")? {
        2 => AlertTarget::Device(DeviceId::from_bytes(codec::bytes(row, "alert_rules", "target")?)),
        1 => AlertTarget::Group(codec::group(row, "alert_rules", "target")?),
        _ => AlertTarget::Project,
    };
    Ok(AlertRule {
        id: AlertRuleId::from_bytes(codec::bytes(row, "alert_rules", "id")?),
        project: codec::project(row, "alert_rules", "project")?,
        name: codec::get(row, "name")?,
        condition,
        target,
        mails: codec::json(codec::get(row, "mails")?, "alert_rules", "mails")?,
        muted_until: codec::get(row, "muted_until")?,
        created: codec::get(row, "created")?,
        unexamined: codec::get::<i64>(row, "unexamined")?.unsigned_abs(),
    })
}

/// Adds a rule, within the project's limit.
pub(in super::super) async fn create(tx: &mut Conn, rule: &AlertRule) -> Result<u64> {
    let project = codec::id(&rule.project);
    let row = sqlx::query("SELECT count(*) AS n FROM alert_rules WHERE project = $1")
        .bind(project)
        .fetch_one(&mut *tx)
        .await?;
    full(codec::get(&row, "n")?, "alert rules", MAX_ALERT_RULES)?;
    let (kind, target) = match &rule.target {
        AlertTarget::Project => (0, None),
        AlertTarget::Group(group) => (1, Some(must_be_group(tx, rule.project, group).await?)),
        AlertTarget::Device(device) => (2, Some(must_be_device(tx, rule.project, device).await?)),
    };
    let (filter, clear) = match &rule.condition {
        Condition::Value { filter, clear } => (Some(filter.as_str()), clear.as_deref()),
        _ => (None, None),
    };
    let mails = serde_json::to_string(&rule.mails).expect("a list of texts serializes without failing");
    sqlx::query(
        "INSERT INTO alert_rules (project, id, name, condition, after_ms, filter, clear_filter, target_kind, target, mails, \
         muted_until, created) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, NULL, $11)",
    )
    .bind(project)
    .bind(codec::id(&rule.id))
    .bind(codec::text(&rule.name))
    .bind(rule.condition.as_str())
    .bind(rule.condition.after())
    .bind(filter.map(codec::text))
    .bind(clear.map(codec::text))
    .bind(kind)
    .bind(target)
    .bind(codec::text(&mails))
    .bind(rule.created)
    .execute(&mut *tx)
    .await?;
    changed(tx, rule.project).await?;
    Ok(1)
}

async fn must_be_group<'g>(tx: &mut Conn, project: ProjectId, group: &'g GroupId) -> Result<&'g [u8]> {
    super::super::groups::must_exist(tx, project, *group).await?;
    Ok(codec::id(group))
}

async fn must_be_device<'d>(tx: &mut Conn, project: ProjectId, device: &'d DeviceId) -> Result<&'d [u8]> {
    let known = sqlx::query("SELECT id FROM devices WHERE project = $1 AND id = $2")
        .bind(codec::id(&project))
        .bind(codec::id(device))
        .fetch_optional(tx)
        .await?;
    missing(u64::from(known.is_some()), "device", device)?;
    Ok(codec::id(device))
}

/// Removes a rule and clears its alerts.
pub(in super::super) async fn delete(
    tx: &mut Conn,
    project: ProjectId,
    id: AlertRuleId,
    now: UnixMs,
) -> Result<u64> {
    let done = sqlx::query("DELETE FROM alert_rules WHERE project = $1 AND id = $2")
        .bind(codec::id(&project))
        .bind(codec::id(&id))
        .execute(&mut *tx)
        .await?;
    missing(done.rows_affected(), "alert rule", &id)?;
    sqlx::query("UPDATE alerts SET cleared = $3 WHERE project = $1 AND rule = $2 AND cleared IS NULL")
        .bind(codec::id(&project))
        .bind(codec::id(&id))
        .bind(now)
        .execute(&mut *tx)
        .await?;
    changed(tx, project).await?;
    Ok(1)
}

/// Counts messages that a rule was not applied to. The compiled rules stay valid.
pub(super) async fn count_unexamined(
    tx: &mut Conn,
    project: ProjectId,
    id: AlertRuleId,
    count: u64,
) -> Result<()> {
    sqlx::query("UPDATE alert_rules SET unexamined = unexamined + $3 WHERE project = $1 AND id = $2")
        .bind(codec::id(&project))
        .bind(codec::id(&id))
        .bind(codec::signed(count))
        .execute(tx)
        .await?;
    Ok(())
}

/// Mutes a rule.
pub(in super::super) async fn mute(
    tx: &mut Conn,
    project: ProjectId,
    id: AlertRuleId,
    until: Option<UnixMs>,
) -> Result<u64> {
    let done = sqlx::query("UPDATE alert_rules SET muted_until = $3 WHERE project = $1 AND id = $2")
        .bind(codec::id(&project))
        .bind(codec::id(&id))
        .bind(until)
        .execute(&mut *tx)
        .await?;
    missing(done.rows_affected(), "alert rule", &id)?;
    changed(tx, project).await?;
    Ok(1)
}

/// Mutes a raised alert.
pub(in super::super) async fn mute_alert(
    tx: &mut Conn,
    project: ProjectId,
    id: AlertId,
    until: Option<UnixMs>,
) -> Result<u64> {
    let done =
        sqlx::query("UPDATE alerts SET muted_until = $3 WHERE project = $1 AND id = $2 AND cleared IS NULL")
            .bind(codec::id(&project))
            .bind(codec::id(&id))
            .bind(until)
            .execute(tx)
            .await?;
    if done.rows_affected() == 0 {
        return Err(StoreError::Missing {
            what: "raised alert",
            name: id.to_string(),
        });
    }
    Ok(1)
}

async fn changed(tx: &mut Conn, project: ProjectId) -> Result<()> {
    sqlx::query("UPDATE projects SET alert_changes = alert_changes + 1 WHERE id = $1")
        .bind(codec::id(&project))
        .execute(tx)
        .await?;
    Ok(())
}
