//! Commands and their idempotency keys.

use iottly_protocol::{CommandId, CommandResult, CommandState, ProjectId};

use super::db::{self, Conn, Pool, Row};
use super::{codec, taken};
use crate::{CommandQuery, CommandRoom, OpenTotals, PAGE_COMMANDS, Result, Submitted};
use iottly_core::model::{CommandRecord, CommandStatus, Idempotency, NewCommand, Scope, UnixMs};

/// Detail of a command that the cloud presumed expired; a report of the device may still correct it.
const PRESUMED: &str = "the device did not report the command in time";
/// Detail of a command that was cancelled after it had been sent; a report of the device may still correct
/// it.
const WITHDRAWN: &str = "withdrawn before the device reported it";

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT project, device, id, cmd_type, body, status, detail, created, expires, changed, sent, delivered, cancelling FROM commands WHERE ",
            $rest
        )
    };
}

/// Maximum number of commands that one statement expires.
const EXPIRED: i64 = 1000;

pub(super) async fn create(connection: &mut Conn, command: &NewCommand) -> Result<()> {
    sqlx::query(
        "INSERT INTO commands (project, device, id, cmd_type, body, status, created, expires, changed) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $7)",
    )
    .bind(&command.scope.project.as_bytes()[..])
    .bind(&command.scope.device.as_bytes()[..])
    .bind(&command.id.as_bytes()[..])
    .bind(codec::text(&command.cmd_type))
    .bind(command.values.get())
    .bind(codec::status_code(CommandStatus::Queued))
    .bind(command.created)
    .bind(command.expires)
    .execute(connection)
    .await
    .map_err(|error| taken(error, "command", &command.id.to_string()))?;
    Ok(())
}

/// Stores a command, unless too much waits for its device, or a request with the same key stored one before;
/// then returns that one.
pub(super) async fn submit(
    connection: &mut Conn,
    command: &NewCommand,
    key: Option<&Idempotency>,
    room: &CommandRoom,
) -> Result<Submitted> {
    let mut tx = db::begin(connection).await?;
    // Serialises counting and adding.
    db::lock_devices(&mut tx, std::iter::once(command.scope)).await?;
    if let Some(key) = key {
        let claimed = sqlx::query(
            "INSERT INTO idempotency (project, token, name, request, device, command, created) VALUES ($1, $2, $3, $4, $5, $6, $7) \
             ON CONFLICT DO NOTHING",
        )
        .bind(&command.scope.project.as_bytes()[..])
        .bind(&key.token.as_bytes()[..])
        .bind(&key.key)
        .bind(&key.request[..])
        .bind(&command.scope.device.as_bytes()[..])
        .bind(&command.id.as_bytes()[..])
        .bind(command.created)
        .execute(&mut *tx)
        .await?;
        if claimed.rows_affected() == 0 {
            let earlier = earlier(&mut tx, command.scope, key).await?;
            return Ok(earlier.unwrap_or(Submitted::OtherRequest));
        }
    }
    let waiting = sqlx::query(
        "SELECT count(*) AS n, CAST(coalesce(sum(octet_length(body)), 0) AS BIGINT) AS bytes FROM commands \
         WHERE project = $1 AND device = $2 AND status < 3",
    )
    .bind(&command.scope.project.as_bytes()[..])
    .bind(&command.scope.device.as_bytes()[..])
    .fetch_one(&mut *tx)
    .await?;
    let waiting = totals(&waiting)?;
    if waiting.commands >= room.commands
        || waiting.bytes.saturating_add(command.values.get().len() as u64) > room.bytes
    {
        return Ok(Submitted::NoRoom);
    }
    create(&mut tx, command).await?;
    tx.commit().await?;
    Ok(Submitted::New)
}

/// Returns the totals of open commands of a project's devices.
pub(super) async fn open_totals(pool: &Pool, project: ProjectId) -> Result<OpenTotals> {
    let query = sqlx::query(
        "SELECT count(*) AS n, CAST(coalesce(sum(octet_length(body)), 0) AS BIGINT) AS bytes FROM commands \
         WHERE project = $1 AND status < 3",
    );
    totals(&query.bind(&project.as_bytes()[..]).fetch_one(pool).await?)
}

fn totals(row: &Row) -> Result<OpenTotals> {
    let number = |field| codec::unsigned(codec::get(row, field)?, "commands", field);
    Ok(OpenTotals {
        commands: number("n")?,
        bytes: number("bytes")?,
    })
}

/// Returns the result of the earlier request with this key.
pub(super) async fn submitted(pool: &Pool, scope: Scope, key: &Idempotency) -> Result<Option<Submitted>> {
    earlier(&mut *pool.acquire().await?, scope, key).await
}

async fn earlier(connection: &mut Conn, scope: Scope, key: &Idempotency) -> Result<Option<Submitted>> {
    let row = sqlx::query(
        "SELECT request, device, command FROM idempotency WHERE project = $1 AND token = $2 AND name = $3",
    )
    .bind(&scope.project.as_bytes()[..])
    .bind(&key.token.as_bytes()[..])
    .bind(&key.key)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let same_device = codec::bytes::<16>(&row, "idempotency", "device")? == *scope.device.as_bytes();
    if !same_device || codec::bytes::<32>(&row, "idempotency", "request")? != key.request {
        return Ok(Some(Submitted::OtherRequest));
    }
    let row = sqlx::query(select!("project = $1 AND device = $2 AND id = $3"))
        .bind(&scope.project.as_bytes()[..])
        .bind(&scope.device.as_bytes()[..])
        .bind(&codec::bytes::<16>(&row, "idempotency", "command")?[..])
        .fetch_one(connection)
        .await?;
    Ok(Some(Submitted::Earlier(Box::new(record(&row)?))))
}

/// Deletes the keys of requests before `before`.
pub(super) async fn forget_keys(connection: &mut Conn, before: UnixMs) -> Result<u64> {
    let done = sqlx::query("DELETE FROM idempotency WHERE created < $1")
        .bind(before)
        .execute(connection)
        .await?;
    Ok(done.rows_affected())
}

/// Returns commands of a device, newest first.
pub(super) async fn list(pool: &Pool, scope: Scope, query: &CommandQuery) -> Result<Vec<CommandRecord>> {
    let (created, id) = query.before.map_or((UnixMs::MAX, [0xff; 16]), |(created, id)| {
        (created, *id.as_bytes())
    });
    let state = query.status.map_or(-1, codec::status_code);
    let rows = sqlx::query(select!(
        "project = $1 AND device = $2 AND (created, id) < ($3, $4) AND ($5 < 0 OR status = $5) ORDER BY created DESC, id DESC LIMIT $6"
    ))
    .bind(&scope.project.as_bytes()[..])
    .bind(&scope.device.as_bytes()[..])
    .bind(created)
    .bind(&id[..])
    .bind(state)
    .bind(i64::try_from(query.limit).unwrap_or(i64::MAX))
    .fetch_all(pool)
    .await?;
    rows.iter().map(record).collect()
}

/// Cancels a command: immediately if it was never sent, else it is marked. Returns its new state.
pub(super) async fn cancel(
    connection: &mut Conn,
    scope: Scope,
    id: CommandId,
    now: UnixMs,
) -> Result<Option<CommandRecord>> {
    let mut tx = db::begin(connection).await?;
    // A command that is being sent at this moment may still reach the device; the device's report then
    // corrects this.
    for sql in [
        "UPDATE commands SET status = 7, detail = $5, changed = $4 WHERE project = $1 AND device = $2 AND id = $3 AND status = 0",
        "UPDATE commands SET cancelling = true, changed = $4 WHERE project = $1 AND device = $2 AND id = $3 AND status IN (1, 2) \
         AND cancelling = false AND $5 <> ''",
    ] {
        sqlx::query(sql)
            .bind(&scope.project.as_bytes()[..])
            .bind(&scope.device.as_bytes()[..])
            .bind(&id.as_bytes()[..])
            .bind(now)
            .bind(WITHDRAWN)
            .execute(&mut *tx)
            .await?;
    }
    let row = sqlx::query(select!("project = $1 AND device = $2 AND id = $3"))
        .bind(&scope.project.as_bytes()[..])
        .bind(&scope.device.as_bytes()[..])
        .bind(&id.as_bytes()[..])
        .fetch_optional(&mut *tx)
        .await?;
    tx.commit().await?;
    row.as_ref().map(record).transpose()
}

/// Sets a sent command that is being cancelled to cancelled. The cloud never sends it again, so it will not
/// run unless the device has it already.
pub(super) async fn withdraw(connection: &mut Conn, scope: Scope, id: CommandId, now: UnixMs) -> Result<()> {
    sqlx::query(
        "UPDATE commands SET status = 7, detail = $5, changed = $4 WHERE project = $1 AND device = $2 AND id = $3 AND status = 1 AND cancelling = true",
    )
    .bind(&scope.project.as_bytes()[..])
    .bind(&scope.device.as_bytes()[..])
    .bind(&id.as_bytes()[..])
    .bind(now)
    .bind(WITHDRAWN)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn one(pool: &Pool, scope: Scope, id: CommandId) -> Result<Option<CommandRecord>> {
    let query = sqlx::query(select!("project = $1 AND device = $2 AND id = $3"))
        .bind(&scope.project.as_bytes()[..])
        .bind(&scope.device.as_bytes()[..])
        .bind(&id.as_bytes()[..]);
    query.fetch_optional(pool).await?.as_ref().map(record).transpose()
}

pub(super) async fn open(pool: &Pool, scope: Scope) -> Result<Vec<CommandRecord>> {
    let query = sqlx::query(select!(
        "project = $1 AND device = $2 AND status < 3 ORDER BY created, id"
    ))
    .bind(&scope.project.as_bytes()[..])
    .bind(&scope.device.as_bytes()[..]);
    query.fetch_all(pool).await?.iter().map(record).collect()
}

/// Returns the oldest open commands after `after` that together hold `bytes` of values, at least one.
pub(super) async fn open_page(
    pool: &Pool,
    scope: Scope,
    after: Option<(UnixMs, CommandId)>,
    bytes: usize,
) -> Result<Vec<CommandRecord>> {
    let (created, id) = after.map_or((UnixMs::MIN, [0; 16]), |(created, id)| (created, *id.as_bytes()));
    let sizes = sqlx::query(
        "SELECT created, id, CAST(octet_length(body) AS BIGINT) AS bytes FROM commands \
         WHERE project = $1 AND device = $2 AND status < 3 AND (created, id) > ($3, $4) ORDER BY created, id LIMIT $5",
    )
    .bind(&scope.project.as_bytes()[..])
    .bind(&scope.device.as_bytes()[..])
    .bind(created)
    .bind(&id[..])
    .bind(PAGE_COMMANDS as i64)
    .fetch_all(pool)
    .await?;
    let (mut last, mut sum) = (None, 0u64);
    for row in &sizes {
        sum += codec::unsigned(codec::get(row, "bytes")?, "commands", "bytes")?;
        if last.is_some() && sum > bytes as u64 {
            break;
        }
        last = Some((
            codec::get::<UnixMs>(row, "created")?,
            codec::bytes::<16>(row, "commands", "id")?,
        ));
    }
    let Some((to, last)) = last else {
        return Ok(Vec::new());
    };
    let query = sqlx::query(select!(
        "project = $1 AND device = $2 AND status < 3 AND (created, id) > ($3, $4) AND (created, id) <= ($5, $6) ORDER BY created, id"
    ))
    .bind(&scope.project.as_bytes()[..])
    .bind(&scope.device.as_bytes()[..])
    .bind(created)
    .bind(&id[..])
    .bind(to)
    .bind(&last[..]);
    query.fetch_all(pool).await?.iter().map(record).collect()
}

pub(super) async fn mark_sent(connection: &mut Conn, scope: Scope, id: CommandId, now: UnixMs) -> Result<()> {
    sqlx::query(
        "UPDATE commands SET status = 1, changed = $4, sent = $4 WHERE project = $1 AND device = $2 AND id = $3 AND status = 0",
    )
    .bind(&scope.project.as_bytes()[..])
    .bind(&scope.device.as_bytes()[..])
    .bind(&id.as_bytes()[..])
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// Expires the commands whose time has passed, at most [`EXPIRED`] of them. First limits the remaining time
/// of all to `longest`, so that a clock that was set back keeps none forever.
pub(super) async fn expire(connection: &mut Conn, now: UnixMs, longest: UnixMs) -> Result<u64> {
    let latest = now.saturating_add(longest);
    sqlx::query("UPDATE commands SET expires = $1 WHERE status < 2 AND expires > $1")
        .bind(latest)
        .execute(&mut *connection)
        .await?;
    let done = sqlx::query(
        "UPDATE commands SET status = $1, detail = $2, changed = $3 WHERE status < 2 AND expires <= $3 AND (project, device, id) IN \
         (SELECT project, device, id FROM commands WHERE status < 2 AND expires <= $3 ORDER BY expires LIMIT $4)",
    )
    .bind(codec::status_code(CommandStatus::Expired))
    .bind(PRESUMED)
    .bind(now)
    .bind(EXPIRED)
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Updates a command to the reported status, forwards only. A final status stays, unless the cloud only
/// presumed it.
pub(super) async fn advance(
    connection: &mut Conn,
    scope: Scope,
    result: &CommandResult,
    now: UnixMs,
) -> Result<()> {
    let status = match result.state {
        CommandState::Delivered => CommandStatus::Delivered,
        CommandState::Done => CommandStatus::Answered,
        CommandState::Failed => CommandStatus::Failed,
        CommandState::Expired => CommandStatus::Expired,
        CommandState::Interrupted => CommandStatus::Interrupted,
        CommandState::Cancelled => CommandStatus::Cancelled,
    };
    sqlx::query(
        "UPDATE commands SET status = $4, detail = $5, changed = $6, delivered = coalesce(delivered, $6) \
         WHERE project = $1 AND device = $2 AND id = $3 \
         AND ((status < 3 AND status < $4) OR (status = 5 AND detail = $7) OR (status = 7 AND detail = $8))",
    )
    .bind(&scope.project.as_bytes()[..])
    .bind(&scope.device.as_bytes()[..])
    .bind(&result.id.as_bytes()[..])
    .bind(codec::status_code(status))
    .bind(result.detail.as_deref().map(codec::text))
    .bind(now)
    .bind(PRESUMED)
    .bind(WITHDRAWN)
    .execute(connection)
    .await?;
    Ok(())
}

fn record(row: &Row) -> Result<CommandRecord> {
    Ok(CommandRecord {
        id: CommandId::from_bytes(codec::bytes(row, "commands", "id")?),
        scope: codec::scope(row, "commands", "device")?,
        cmd_type: codec::get(row, "cmd_type")?,
        values: codec::raw(row, "commands", "body")?,
        status: codec::status(codec::get(row, "status")?)?,
        detail: codec::get(row, "detail")?,
        created: codec::get(row, "created")?,
        expires: codec::get(row, "expires")?,
        changed: codec::get(row, "changed")?,
        sent: codec::get(row, "sent")?,
        delivered: codec::get(row, "delivered")?,
        cancelling: codec::get(row, "cancelling")?,
    })
}
