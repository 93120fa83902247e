use iottly_protocol::{CommandId, CommandResult, CommandState};
use sqlx::SqliteConnection;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use super::{codec, taken};
use crate::model::{CommandRecord, CommandStatus, NewCommand, Scope, UnixMs};
use crate::store::Result;

/// Detail of a command that the cloud expired: a guess that the device's own word may still correct.
const PRESUMED: &str = "the device did not report the command in time";

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT project, device, id, cmd_type, body, status, detail, created, expires, changed FROM commands WHERE ",
            $rest
        )
    };
}

pub(super) async fn create(connection: &mut SqliteConnection, command: &NewCommand) -> Result<()> {
    sqlx::query(
        "INSERT INTO commands (project, device, id, cmd_type, body, status, created, expires, changed) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $7)",
    )
    .bind(&command.scope.project.as_bytes()[..])
    .bind(&command.scope.device.as_bytes()[..])
    .bind(&command.id.as_bytes()[..])
    .bind(&command.cmd_type)
    .bind(command.values.get())
    .bind(codec::status_code(CommandStatus::Queued))
    .bind(command.created)
    .bind(command.expires)
    .execute(connection)
    .await
    .map_err(|error| taken(error, "command", &command.id.to_string()))?;
    Ok(())
}

pub(super) async fn one(pool: &SqlitePool, scope: Scope, id: CommandId) -> Result<Option<CommandRecord>> {
    let query = sqlx::query(select!("project = $1 AND device = $2 AND id = $3"))
        .bind(&scope.project.as_bytes()[..])
        .bind(&scope.device.as_bytes()[..])
        .bind(&id.as_bytes()[..]);
    query.fetch_optional(pool).await?.as_ref().map(record).transpose()
}

pub(super) async fn open(pool: &SqlitePool, scope: Scope) -> Result<Vec<CommandRecord>> {
    let query = sqlx::query(select!("project = $1 AND device = $2 AND status < 3 ORDER BY created, id"))
        .bind(&scope.project.as_bytes()[..])
        .bind(&scope.device.as_bytes()[..]);
    query.fetch_all(pool).await?.iter().map(record).collect()
}

pub(super) async fn mark_sent(connection: &mut SqliteConnection, scope: Scope, id: CommandId, now: UnixMs) -> Result<()> {
    sqlx::query("UPDATE commands SET status = 1, changed = $4 WHERE project = $1 AND device = $2 AND id = $3 AND status = 0")
        .bind(&scope.project.as_bytes()[..])
        .bind(&scope.device.as_bytes()[..])
        .bind(&id.as_bytes()[..])
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn expire(connection: &mut SqliteConnection, now: UnixMs) -> Result<u64> {
    let done = sqlx::query("UPDATE commands SET status = $1, detail = $2, changed = $3 WHERE status < 2 AND expires <= $3")
        .bind(codec::status_code(CommandStatus::Expired))
        .bind(PRESUMED)
        .bind(now)
        .execute(connection)
        .await?;
    Ok(done.rows_affected())
}

/// Moves a command forward to what the device reports; a final status stays, unless the cloud only presumed it.
pub(super) async fn advance(connection: &mut SqliteConnection, scope: Scope, result: &CommandResult, now: UnixMs) -> Result<()> {
    let status = match result.state {
        CommandState::Delivered => CommandStatus::Delivered,
        CommandState::Done => CommandStatus::Answered,
        CommandState::Failed => CommandStatus::Failed,
        CommandState::Expired => CommandStatus::Expired,
        CommandState::Interrupted => CommandStatus::Interrupted,
        CommandState::Cancelled => CommandStatus::Cancelled,
    };
    sqlx::query(
        "UPDATE commands SET status = $4, detail = $5, changed = $6 WHERE project = $1 AND device = $2 AND id = $3 \
         AND ((status < 3 AND status < $4) OR (status = 5 AND detail = $7))",
    )
    .bind(&scope.project.as_bytes()[..])
    .bind(&scope.device.as_bytes()[..])
    .bind(&result.id.as_bytes()[..])
    .bind(codec::status_code(status))
    .bind(result.detail.as_deref())
    .bind(now)
    .bind(PRESUMED)
    .execute(connection)
    .await?;
    Ok(())
}

fn record(row: &SqliteRow) -> Result<CommandRecord> {
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
    })
}
