//! Configuration of webhooks.

use iottly_protocol::ProjectId;

use super::super::db::{Conn, Pool, Row};
use super::super::{codec, full, missing, taken};
use super::claim::too_far;
use crate::Result;
use iottly_core::Sealed;
use iottly_core::model::{UnixMs, Webhook, WebhookId, WebhookKey, WebhookKind, WebhookQueue, WebhookState};
use iottly_core::webhooks::MAX_WEBHOOKS;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT w.project, w.id, w.description, w.url, w.kind, w.channel, w.filter, w.payload_only, w.ordered, w.enabled, w.reason, \
             w.headers, w.secret, w.former, w.former_until, w.created, w.changed, q.waiting, q.failed, q.dropped, q.skipped, \
             q.failing_since, q.failures, q.probe_at, \
             (SELECT min(d.due) FROM webhook_deliveries d WHERE d.project = w.project AND d.hook = w.id) AS next_due \
             FROM webhooks w JOIN webhook_queues q ON q.project = w.project AND q.hook = w.id WHERE ",
            $rest
        )
    };
}

pub(super) async fn all(pool: &Pool, project: ProjectId) -> Result<Vec<WebhookState>> {
    let query = sqlx::query(select!("w.project = $1 ORDER BY w.created, w.id")).bind(codec::id(&project));
    query.fetch_all(pool).await?.iter().map(state).collect()
}

pub(super) async fn one(pool: &Pool, key: WebhookKey) -> Result<Option<WebhookState>> {
    let query = sqlx::query(select!("w.project = $1 AND w.id = $2"));
    let query = query.bind(codec::id(&key.project)).bind(codec::id(&key.hook));
    query.fetch_optional(pool).await?.as_ref().map(state).transpose()
}

/// Returns the enabled webhooks that have a delivery due.
pub(super) async fn due(pool: &Pool, now: UnixMs, limit: usize) -> Result<Vec<WebhookState>> {
    let query = sqlx::query(select!(
        "q.waiting > 0 AND w.enabled = true AND (EXISTS (SELECT 1 FROM webhook_deliveries d \
         WHERE d.project = q.project AND d.hook = q.hook AND d.due <= $1) OR EXISTS (SELECT 1 FROM webhook_deliveries d \
         WHERE d.project = q.project AND d.hook = q.hook AND d.due > $2)) ORDER BY w.project, w.id LIMIT $3"
    ));
    query
        .bind(now)
        .bind(too_far(now))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(pool)
        .await?
        .iter()
        .map(state)
        .collect()
}

/// Returns the webhooks of a project as the transaction sees them.
pub(super) async fn within(tx: &mut Conn, project: ProjectId) -> Result<Vec<Webhook>> {
    let query = sqlx::query(select!("w.project = $1 ORDER BY w.id")).bind(codec::id(&project));
    query
        .fetch_all(tx)
        .await?
        .iter()
        .map(|row| state(row).map(|state| state.hook))
        .collect()
}

pub(in super::super) async fn create(tx: &mut Conn, hook: &Webhook) -> Result<u64> {
    let project = codec::id(&hook.key.project);
    let row = sqlx::query("SELECT count(*) AS n FROM webhooks WHERE project = $1")
        .bind(project)
        .fetch_one(&mut *tx)
        .await?;
    full(codec::get(&row, "n")?, "webhooks", MAX_WEBHOOKS)?;
    let (former, former_until) = hook
        .former
        .as_ref()
        .map(|(secret, until)| (&secret.0[..], *until))
        .unzip();
    sqlx::query(
        "INSERT INTO webhooks (project, id, description, url, kind, channel, filter, payload_only, ordered, enabled, reason, headers, \
         secret, former, former_until, created, changed) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
    )
    .bind(project)
    .bind(codec::id(&hook.key.hook))
    .bind(&hook.description)
    .bind(&hook.url)
    .bind(kind_code(hook.kind))
    .bind(hook.channel.as_deref())
    .bind(hook.filter.as_deref())
    .bind(hook.payload_only)
    .bind(hook.ordered)
    .bind(hook.enabled)
    .bind(&hook.reason)
    .bind(&hook.headers.0[..])
    .bind(&hook.secret.0[..])
    .bind(former)
    .bind(former_until)
    .bind(hook.created)
    .bind(hook.changed)
    .execute(&mut *tx)
    .await
    .map_err(|error| taken(error, "webhook", &hook.key.hook.to_string()))?;
    sqlx::query("INSERT INTO webhook_queues (project, hook) VALUES ($1, $2)")
        .bind(project)
        .bind(codec::id(&hook.key.hook))
        .execute(&mut *tx)
        .await?;
    bump(tx, hook.key.project).await
}

pub(in super::super) async fn update(tx: &mut Conn, hook: &Webhook) -> Result<u64> {
    let done = sqlx::query(
        "UPDATE webhooks SET description = $3, url = $4, kind = $5, channel = $6, filter = $7, payload_only = $8, ordered = $9, \
         enabled = $10, reason = $11, headers = $12, changed = $13 WHERE project = $1 AND id = $2",
    )
    .bind(codec::id(&hook.key.project))
    .bind(codec::id(&hook.key.hook))
    .bind(&hook.description)
    .bind(&hook.url)
    .bind(kind_code(hook.kind))
    .bind(hook.channel.as_deref())
    .bind(hook.filter.as_deref())
    .bind(hook.payload_only)
    .bind(hook.ordered)
    .bind(hook.enabled)
    .bind(&hook.reason)
    .bind(&hook.headers.0[..])
    .bind(hook.changed)
    .execute(&mut *tx)
    .await?;
    missing(done.rows_affected(), "webhook", &hook.key.hook)?;
    // A changed webhook may be repaired, so its earlier failures no longer count.
    sqlx::query("UPDATE webhook_queues SET failures = 0, probe_at = NULL, failing_since = NULL WHERE project = $1 AND hook = $2")
        .bind(codec::id(&hook.key.project))
        .bind(codec::id(&hook.key.hook))
        .execute(&mut *tx)
        .await?;
    bump(tx, hook.key.project).await
}

/// Removes a webhook; the remaining row of its queue marks the data to erase.
pub(in super::super) async fn delete(tx: &mut Conn, project: ProjectId, id: WebhookId) -> Result<u64> {
    let query = sqlx::query("DELETE FROM webhooks WHERE project = $1 AND id = $2");
    let done = query
        .bind(codec::id(&project))
        .bind(codec::id(&id))
        .execute(&mut *tx)
        .await?;
    missing(done.rows_affected(), "webhook", &id)?;
    super::super::portals::close_all(tx, project, id).await?;
    bump(tx, project).await
}

/// Disables a webhook; does nothing if it is disabled.
pub(in super::super) async fn disable(
    tx: &mut Conn,
    project: ProjectId,
    id: WebhookId,
    reason: &str,
    now: UnixMs,
) -> Result<u64> {
    let query = sqlx::query(
        "UPDATE webhooks SET enabled = false, reason = $3, changed = $4 WHERE project = $1 AND id = $2 AND enabled = true",
    );
    let query = query
        .bind(codec::id(&project))
        .bind(codec::id(&id))
        .bind(codec::text(reason))
        .bind(now);
    if query.execute(&mut *tx).await?.rows_affected() == 0 {
        Ok(0)
    } else {
        bump(tx, project).await
    }
}

pub(in super::super) async fn rotate(
    tx: &mut Conn,
    project: ProjectId,
    id: WebhookId,
    secret: &Sealed,
    until: UnixMs,
    now: UnixMs,
) -> Result<u64> {
    let done = sqlx::query(
        "UPDATE webhooks SET former = secret, former_until = $4, secret = $3, changed = $5 WHERE project = $1 AND id = $2",
    )
    .bind(codec::id(&project))
    .bind(codec::id(&id))
    .bind(&secret.0[..])
    .bind(until)
    .bind(now)
    .execute(&mut *tx)
    .await?;
    missing(done.rows_affected(), "webhook", &id)
}

/// Increases the version of the project's webhooks, which invalidates cached ones.
async fn bump(tx: &mut Conn, project: ProjectId) -> Result<u64> {
    let query = sqlx::query("UPDATE projects SET hooks = hooks + 1 WHERE id = $1");
    Ok(query.bind(codec::id(&project)).execute(tx).await?.rows_affected())
}

const fn kind_code(kind: WebhookKind) -> i64 {
    match kind {
        WebhookKind::Iottly => 0,
        WebhookKind::User => 1,
        WebhookKind::All => 2,
    }
}

fn kind(code: i64) -> Result<WebhookKind> {
    match code {
        0 => Ok(WebhookKind::Iottly),
        1 => Ok(WebhookKind::User),
        2 => Ok(WebhookKind::All),
        other => Err(codec::corrupt(
            "webhooks",
            "kind",
            format!("unknown code {other}"),
        )),
    }
}

fn state(row: &Row) -> Result<WebhookState> {
    let count = |field| codec::unsigned(codec::get(row, field)?, "webhook_queues", field);
    let key = WebhookKey {
        project: codec::project(row, "webhooks", "project")?,
        hook: WebhookId::from_bytes(codec::bytes(row, "webhooks", "id")?),
    };
    let former: Option<Vec<u8>> = codec::get(row, "former")?;
    let former_until: Option<UnixMs> = codec::get(row, "former_until")?;
    let hook = Webhook {
        key,
        description: codec::get(row, "description")?,
        url: codec::get(row, "url")?,
        kind: kind(codec::get(row, "kind")?)?,
        channel: codec::get(row, "channel")?,
        filter: codec::get(row, "filter")?,
        payload_only: codec::get(row, "payload_only")?,
        ordered: codec::get(row, "ordered")?,
        enabled: codec::get(row, "enabled")?,
        reason: codec::get(row, "reason")?,
        headers: Sealed(codec::get(row, "headers")?),
        secret: Sealed(codec::get(row, "secret")?),
        former: former.map(Sealed).zip(former_until),
        created: codec::get(row, "created")?,
        changed: codec::get(row, "changed")?,
    };
    let queue = WebhookQueue {
        waiting: count("waiting")?,
        failed: count("failed")?,
        dropped: count("dropped")?,
        skipped: count("skipped")?,
        failing_since: codec::get(row, "failing_since")?,
        failures: u32::try_from(count("failures")?).unwrap_or(u32::MAX),
        probe_at: codec::get(row, "probe_at")?,
        next_due: codec::get(row, "next_due")?,
    };
    Ok(WebhookState { hook, queue })
}
