//! Commands and their idempotency keys.

use async_trait::async_trait;
use iottly_protocol::{CommandId, CommandResult, ProjectId};

use super::codec::{self, open, unreported};
use super::db::{self, Conn, Row};
use super::{Backend, taken};
use crate::write_turns::Lane;
use crate::{CommandQuery, CommandRoom, CommandStore, OpenTotals, PAGE_COMMANDS, Result, Submitted};
use iottly_core::command::{CloudStep, MAX_TTL_MS};
use iottly_core::model::{CommandRecord, CommandStatus, Idempotency, NewCommand, Scope, UnixMs};

macro_rules! select {
    ($($rest:expr),+) => {
        concat!(
            "SELECT project, device, id, cmd_type, body, status, detail, created, expires, changed, sent, delivered, cancelling FROM commands WHERE ",
            $($rest),+
        )
    };
}

/// Maximum number of commands that one statement expires.
const EXPIRED: i64 = 1000;

#[async_trait]
impl CommandStore for Backend {
    async fn create_command(
        &self,
        command: &NewCommand,
        key: Option<&Idempotency>,
        room: &CommandRoom,
    ) -> Result<Submitted> {
        let _turn = self.turns.take(Lane::Project(command.scope.project)).await;
        let mut writer = self.write().await?;
        let mut tx = db::begin(&mut writer).await?;
        // Serialises counting and adding.
        db::lock_devices(&mut tx, std::iter::once(command.scope)).await?;
        if let Some(key) = key {
            let claimed = sqlx::query(
                "INSERT INTO idempotency (project, token, name, request, device, command, created) VALUES ($1, $2, $3, $4, $5, $6, $7) \
                 ON CONFLICT DO NOTHING",
            )
            .bind(codec::id(&command.scope.project))
            .bind(&key.actor.id()[..])
            .bind(&key.key)
            .bind(&key.request[..])
            .bind(codec::id(&command.scope.device))
            .bind(codec::id(&command.id))
            .bind(command.created)
            .execute(&mut *tx)
            .await?;
            if claimed.rows_affected() == 0 {
                let earlier = earlier(&mut tx, command.scope, key).await?;
                return Ok(earlier.unwrap_or(Submitted::OtherRequest));
            }
        }
        let waiting = sqlx::query(concat!(
            "SELECT count(*) AS n, CAST(coalesce(sum(octet_length(body)), 0) AS BIGINT) AS bytes FROM commands \
             WHERE project = $1 AND device = $2 AND ",
            open!()
        ))
        .bind(codec::id(&command.scope.project))
        .bind(codec::id(&command.scope.device))
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

    async fn submitted(&self, scope: Scope, key: &Idempotency) -> Result<Option<Submitted>> {
        earlier(&mut *self.readers.acquire().await?, scope, key).await
    }

    async fn open_totals(&self, project: ProjectId) -> Result<OpenTotals> {
        let query = sqlx::query(concat!(
            "SELECT count(*) AS n, CAST(coalesce(sum(octet_length(body)), 0) AS BIGINT) AS bytes FROM commands \
             WHERE project = $1 AND ",
            open!()
        ));
        totals(&query.bind(codec::id(&project)).fetch_one(&self.readers).await?)
    }

    async fn forget_keys(&self, before: UnixMs) -> Result<u64> {
        let mut writer = self.write().await?;
        let done = sqlx::query("DELETE FROM idempotency WHERE created < $1")
            .bind(before)
            .execute(&mut *writer)
            .await?;
        Ok(done.rows_affected())
    }

    async fn commands(&self, scope: Scope, query: &CommandQuery) -> Result<Vec<CommandRecord>> {
        let (created, id) = query.before.map_or((UnixMs::MAX, [0xff; 16]), |(created, id)| {
            (created, *id.as_bytes())
        });
        let state = query.status.map_or(-1, codec::status_code);
        let rows = sqlx::query(select!(
            "project = $1 AND device = $2 AND (created, id) < ($3, $4) AND ($5 < 0 OR status = $5) ORDER BY created DESC, id DESC LIMIT $6"
        ))
        .bind(codec::id(&scope.project))
        .bind(codec::id(&scope.device))
        .bind(created)
        .bind(&id[..])
        .bind(state)
        .bind(i64::try_from(query.limit).unwrap_or(i64::MAX))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(record).collect()
    }

    async fn cancel_command(
        &self,
        scope: Scope,
        id: CommandId,
        now: UnixMs,
    ) -> Result<Option<CommandRecord>> {
        let _turn = self.turns.take(Lane::Project(scope.project)).await;
        let mut writer = self.write().await?;
        let mut tx = db::begin(&mut writer).await?;
        // A command that is being sent at this moment may still reach the device, so the status is presumed.
        step(&mut tx, scope, id, CloudStep::Cancel, now).await?;
        let [one, two, three] = codec::status_codes(CommandStatus::MARKED);
        sqlx::query(
            "UPDATE commands SET cancelling = true, changed = $4 WHERE project = $1 AND device = $2 AND id = $3 \
             AND status IN ($5, $6, $7) AND cancelling = false",
        )
        .bind(codec::id(&scope.project))
        .bind(codec::id(&scope.device))
        .bind(codec::id(&id))
        .bind(now)
        .bind(one)
        .bind(two)
        .bind(three)
        .execute(&mut *tx)
        .await?;
        let row = sqlx::query(select!("project = $1 AND device = $2 AND id = $3"))
            .bind(codec::id(&scope.project))
            .bind(codec::id(&scope.device))
            .bind(codec::id(&id))
            .fetch_optional(&mut *tx)
            .await?;
        tx.commit().await?;
        row.as_ref().map(record).transpose()
    }

    async fn withdraw_command(&self, scope: Scope, id: CommandId, now: UnixMs) -> Result<()> {
        step(&mut *self.write().await?, scope, id, CloudStep::Withdraw, now).await
    }

    async fn command(&self, scope: Scope, id: CommandId) -> Result<Option<CommandRecord>> {
        let query = sqlx::query(select!("project = $1 AND device = $2 AND id = $3"))
            .bind(codec::id(&scope.project))
            .bind(codec::id(&scope.device))
            .bind(codec::id(&id));
        query
            .fetch_optional(&self.readers)
            .await?
            .as_ref()
            .map(record)
            .transpose()
    }

    async fn open_commands(&self, scope: Scope) -> Result<Vec<CommandRecord>> {
        let query = sqlx::query(select!(
            "project = $1 AND device = $2 AND ",
            open!(),
            " ORDER BY created, id"
        ))
        .bind(codec::id(&scope.project))
        .bind(codec::id(&scope.device));
        query.fetch_all(&self.readers).await?.iter().map(record).collect()
    }

    async fn open_page(
        &self,
        scope: Scope,
        after: Option<(UnixMs, CommandId)>,
        bytes: usize,
    ) -> Result<Vec<CommandRecord>> {
        let (created, id) = after.map_or((UnixMs::MIN, [0; 16]), |(created, id)| (created, *id.as_bytes()));
        let sizes = sqlx::query(concat!(
            "SELECT created, id, CAST(octet_length(body) AS BIGINT) AS bytes FROM commands \
             WHERE project = $1 AND device = $2 AND ",
            open!(),
            " AND (created, id) > ($3, $4) ORDER BY created, id LIMIT $5"
        ))
        .bind(codec::id(&scope.project))
        .bind(codec::id(&scope.device))
        .bind(created)
        .bind(&id[..])
        .bind(PAGE_COMMANDS as i64)
        .fetch_all(&self.readers)
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
            "project = $1 AND device = $2 AND ",
            open!(),
            " AND (created, id) > ($3, $4) AND (created, id) <= ($5, $6) ORDER BY created, id"
        ))
        .bind(codec::id(&scope.project))
        .bind(codec::id(&scope.device))
        .bind(created)
        .bind(&id[..])
        .bind(to)
        .bind(&last[..]);
        query.fetch_all(&self.readers).await?.iter().map(record).collect()
    }

    async fn mark_sent(&self, scope: Scope, id: CommandId, now: UnixMs) -> Result<()> {
        step(&mut *self.write().await?, scope, id, CloudStep::Send, now).await
    }

    async fn expire_commands(&self, now: UnixMs) -> Result<u64> {
        let mut writer = self.write().await?;
        // A clock that was set back must not keep a command open forever.
        let latest = now.saturating_add(MAX_TTL_MS);
        sqlx::query(concat!(
            "UPDATE commands SET expires = $1 WHERE ",
            unreported!(),
            " AND expires > $1"
        ))
        .bind(latest)
        .execute(&mut *writer)
        .await?;
        let done = sqlx::query(concat!(
            "UPDATE commands SET status = $1, detail = $2, changed = $3, presumed = $5 WHERE ",
            unreported!(),
            " AND expires <= $3 AND (project, device, id) IN (SELECT project, device, id FROM commands WHERE ",
            unreported!(),
            " AND expires <= $3 ORDER BY expires LIMIT $4)"
        ))
        .bind(codec::status_code(CloudStep::Expire.to()))
        .bind(CloudStep::Expire.detail())
        .bind(now)
        .bind(EXPIRED)
        .bind(CloudStep::Expire.presumes())
        .execute(&mut *writer)
        .await?;
        Ok(done.rows_affected())
    }
}

pub(super) async fn create(connection: &mut Conn, command: &NewCommand) -> Result<()> {
    sqlx::query(
        "INSERT INTO commands (project, device, id, cmd_type, body, status, created, expires, changed) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $7)",
    )
    .bind(codec::id(&command.scope.project))
    .bind(codec::id(&command.scope.device))
    .bind(codec::id(&command.id))
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

fn totals(row: &Row) -> Result<OpenTotals> {
    let number = |field| codec::unsigned(codec::get(row, field)?, "commands", field);
    Ok(OpenTotals {
        commands: number("n")?,
        bytes: number("bytes")?,
    })
}

async fn earlier(connection: &mut Conn, scope: Scope, key: &Idempotency) -> Result<Option<Submitted>> {
    let row = sqlx::query(
        "SELECT request, device, command FROM idempotency WHERE project = $1 AND token = $2 AND name = $3",
    )
    .bind(codec::id(&scope.project))
    .bind(&key.actor.id()[..])
    .bind(&key.key)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let same_device = codec::bytes::<16>(&row, "idempotency", "device")? == *scope.device.as_bytes();
    if !same_device || codec::bytes::<32>(&row, "idempotency", "request")? != key.request {
        return Ok(Some(Submitted::OtherRequest));
    }
    let row = sqlx::query(select!("project = $1 AND device = $2 AND id = $3"))
        .bind(codec::id(&scope.project))
        .bind(codec::id(&scope.device))
        .bind(&codec::bytes::<16>(&row, "idempotency", "command")?[..])
        .fetch_one(connection)
        .await?;
    Ok(Some(Submitted::Earlier(Box::new(record(&row)?))))
}

/// Makes a step of the cloud, if the command is in a status in which the step applies.
async fn step(
    connection: &mut Conn,
    scope: Scope,
    id: CommandId,
    step: CloudStep,
    now: UnixMs,
) -> Result<()> {
    let [one, two, three] = codec::status_codes(step.from());
    sqlx::query(
        "UPDATE commands SET status = $4, detail = coalesce($5, detail), changed = $6, presumed = $7, \
         sent = coalesce($8, sent) \
         WHERE project = $1 AND device = $2 AND id = $3 AND status IN ($9, $10, $11) AND (cancelling = true OR $12 = false)",
    )
    .bind(codec::id(&scope.project))
    .bind(codec::id(&scope.device))
    .bind(codec::id(&id))
    .bind(codec::status_code(step.to()))
    .bind(step.detail())
    .bind(now)
    .bind(step.presumes())
    .bind((step == CloudStep::Send).then_some(now))
    .bind(one)
    .bind(two)
    .bind(three)
    .bind(step.needs_mark())
    .execute(connection)
    .await?;
    Ok(())
}

/// Updates a command to the reported status, if the table of statuses allows it; a presumed status is always
/// replaced.
pub(super) async fn advance(
    connection: &mut Conn,
    scope: Scope,
    result: &CommandResult,
    now: UnixMs,
) -> Result<()> {
    let status = CommandStatus::reported(result.state);
    let [one, two, three] = codec::status_codes(status.predecessors());
    sqlx::query(
        "UPDATE commands SET status = $4, detail = $5, changed = $6, delivered = coalesce(delivered, $6), presumed = false \
         WHERE project = $1 AND device = $2 AND id = $3 AND (status IN ($7, $8, $9) OR presumed = true)",
    )
    .bind(codec::id(&scope.project))
    .bind(codec::id(&scope.device))
    .bind(codec::id(&result.id))
    .bind(codec::status_code(status))
    .bind(result.detail.as_deref().map(codec::text))
    .bind(now)
    .bind(one)
    .bind(two)
    .bind(three)
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
