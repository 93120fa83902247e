//! Rows of which a device's timeline is made.

use async_trait::async_trait;

use super::db::Row;
use super::{Backend, audit, codec, messages, rollout_devices};
use crate::{Result, TimelineStore};
use iottly_core::model::{AuditEntry, RolloutId, Scope, StoredMessage};
use iottly_core::series::Range;
use iottly_core::timeline::Update;

/// Columns and conditions of entries of agents; the kind is written out, since SQLite uses a partial index only then.
macro_rules! entries {
    ($order:literal) => {
        concat!(
            "SELECT project, device, ts, id, kind, device_ts, channel, stream, seq, body, firmware FROM messages \
             WHERE project = $1 AND device = $2 AND kind = 1 AND ts >= $3 AND ts < $4 ORDER BY ",
            $order,
            " LIMIT $5"
        )
    };
}

#[async_trait]
impl TimelineStore for Backend {
    async fn agent_entries(
        &self,
        scope: Scope,
        range: Range,
        newest: bool,
        limit: usize,
    ) -> Result<Vec<StoredMessage>> {
        let sql = if newest {
            entries!("ts DESC, id DESC")
        } else {
            entries!("ts, id")
        };
        let query = sqlx::query(sql)
            .bind(codec::id(&scope.project))
            .bind(codec::id(&scope.device))
            .bind(range.from)
            .bind(range.to)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = query.fetch_all(&self.readers).await?;
        rows.iter().map(messages::message).collect()
    }

    async fn device_changes(&self, scope: Scope, range: Range, limit: usize) -> Result<Vec<AuditEntry>> {
        let query = sqlx::query(
            "SELECT n, at, actor, token AS actor_id, action, target, detail, address FROM audit \
             WHERE project = $1 AND target = $2 AND at >= $3 AND at < $4 ORDER BY n DESC LIMIT $5",
        )
        .bind(codec::id(&scope.project))
        .bind(scope.device.to_string())
        .bind(range.from)
        .bind(range.to)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = query.fetch_all(&self.readers).await?;
        rows.iter().map(|row| audit::entry(row, "audit")).collect()
    }

    async fn device_updates(&self, scope: Scope, limit: usize) -> Result<Vec<Update>> {
        let query = sqlx::query(
            "SELECT d.rollout, d.directive, d.counter, d.told, d.withdrawn, d.state, d.reason, d.detail, d.failures, d.changed, \
             d.steps, d.heard, d.faults, d.fault, r.group_id, r.release_seq, e.branch, e.revision \
             FROM rollout_devices d JOIN rollouts r ON r.project = d.project AND r.id = d.rollout \
             JOIN releases e ON e.project = r.project AND e.seq = r.release_seq \
             WHERE d.project = $1 AND d.device = $2 ORDER BY d.told DESC, d.rollout LIMIT $3",
        )
        .bind(codec::id(&scope.project))
        .bind(codec::id(&scope.device))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = query.fetch_all(&self.readers).await?;
        rows.iter().map(update).collect()
    }
}

fn update(row: &Row) -> Result<Update> {
    let number = |field: &'static str| codec::unsigned(codec::get(row, field)?, "releases", field);
    Ok(Update {
        rollout: RolloutId::from_bytes(codec::bytes(row, "rollout_devices", "rollout")?),
        group: codec::group(row, "rollouts", "group_id")?,
        release: number("release_seq")?,
        branch: codec::get(row, "branch")?,
        revision: number("revision")?,
        status: rollout_devices::directive_status(row, codec::get(row, "directive")?)?,
    })
}
