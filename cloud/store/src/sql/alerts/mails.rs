//! Mails about alerts: those that wait to be sent, and the state of those that were.

use std::sync::LazyLock;

use iottly_protocol::ProjectId;

use super::super::codec;
use super::super::db::{self, Conn, Pool, Row};
use crate::{Result, StoreError};
use iottly_core::mail::mail_text;
use iottly_core::model::{
    Alert, AlertId, MAX_MAILS_PER_HOUR, Mail, MailKind, MailResult, MailState, NewMail, UnixMs,
};

const HOUR_MS: UnixMs = 60 * 60 * 1000;
/// Reason of mails that waited for a cloud that sends mails.
const NOT_SENT: &str = "the cloud has sent no mails for three days (iottly serve --smtp-url)";

/// Locks of other transactions are left out, so that the order in which mails are taken cannot end in a deadlock.
static DUE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT project, alert, ending, recipient, subject, body, queued, attempt FROM alert_mails \
         WHERE state = 0 AND due <= $1 ORDER BY due LIMIT $2{}",
        db::SKIP_LOCKED
    )
});

/// Queues the mails about an alert, as many as the project may have in this hour.
pub(super) async fn queue(
    tx: &mut Conn,
    alert: &Alert,
    name: &str,
    ends: bool,
    recipients: &[String],
    now: UnixMs,
) -> Result<()> {
    let (subject, text) = mail_text(alert, name, ends);
    for recipient in recipients {
        if !take_allowance(tx, alert.project, now).await? {
            return Ok(());
        }
        let mail = NewMail {
            project: alert.project,
            alert: alert.id,
            kind: if ends { MailKind::Cleared } else { MailKind::Raised },
            recipient: recipient.clone(),
            subject: subject.clone(),
            text: text.clone(),
            queued: now,
            attempt: 0,
        };
        insert(tx, &mail).await?;
    }
    Ok(())
}

/// Queues a test mail.
///
/// # Errors
/// [`StoreError::Full`] if the project has used up the mails of this hour.
pub(in super::super) async fn test(tx: &mut Conn, mail: &NewMail) -> Result<u64> {
    if !take_allowance(tx, mail.project, mail.queued).await? {
        return Err(StoreError::Full {
            what: "mails in an hour",
            max: MAX_MAILS_PER_HOUR,
        });
    }
    insert(tx, mail).await?;
    Ok(1)
}

async fn insert(tx: &mut Conn, mail: &NewMail) -> Result<()> {
    sqlx::query(
        "INSERT INTO alert_mails (project, alert, ending, recipient, subject, body, attempt, due, queued) \
         VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $7) ON CONFLICT DO NOTHING",
    )
    .bind(codec::id(&mail.project))
    .bind(codec::id(&mail.alert))
    .bind(code(mail.kind))
    .bind(codec::text(&mail.recipient))
    .bind(codec::text(&mail.subject))
    .bind(codec::text(&mail.text))
    .bind(mail.queued)
    .execute(tx)
    .await?;
    Ok(())
}

const fn code(kind: MailKind) -> i64 {
    match kind {
        MailKind::Raised => 0,
        MailKind::Cleared => 1,
        MailKind::Test => 2,
    }
}

fn kind(row: &Row) -> Result<MailKind> {
    Ok(match codec::get::<i64>(row, "ending")? {
        0 => MailKind::Raised,
        1 => MailKind::Cleared,
        _ => MailKind::Test,
    })
}

async fn take_allowance(tx: &mut Conn, project: ProjectId, now: UnixMs) -> Result<bool> {
    let done = sqlx::query(
        "INSERT INTO mail_counts (project, hour, mails) VALUES ($1, $2, 1) ON CONFLICT (project) DO UPDATE SET \
         mails = CASE WHEN mail_counts.hour = excluded.hour THEN mail_counts.mails + 1 ELSE 1 END, hour = excluded.hour \
         WHERE mail_counts.hour <> excluded.hour OR mail_counts.mails < $3",
    )
    .bind(codec::id(&project))
    .bind(now.div_euclid(HOUR_MS))
    .bind(MAX_MAILS_PER_HOUR)
    .execute(tx)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Returns the number of mails that a project has had in this hour.
pub(super) async fn in_this_hour(pool: &Pool, project: ProjectId, now: UnixMs) -> Result<i64> {
    let row = sqlx::query("SELECT mails FROM mail_counts WHERE project = $1 AND hour = $2")
        .bind(codec::id(&project))
        .bind(now.div_euclid(HOUR_MS))
        .fetch_optional(pool)
        .await?;
    row.map_or(Ok(0), |row| codec::get(&row, "mails"))
}

/// Returns mails of a project, the newest first.
pub(super) async fn newest(pool: &Pool, project: ProjectId, limit: usize) -> Result<Vec<Mail>> {
    let rows = sqlx::query(
        "SELECT alert, ending, recipient, subject, state, attempt, queued, due, ended, reason FROM alert_mails \
         WHERE project = $1 ORDER BY queued DESC, alert, ending, recipient LIMIT $2",
    )
    .bind(codec::id(&project))
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(pool)
    .await?;
    rows.iter().map(shown).collect()
}

fn shown(row: &Row) -> Result<Mail> {
    let state = match codec::get::<i64>(row, "state")? {
        0 => MailState::Queued,
        1 => MailState::Sent,
        _ => MailState::Refused,
    };
    Ok(Mail {
        alert: AlertId::from_bytes(codec::bytes(row, "alert_mails", "alert")?),
        kind: kind(row)?,
        recipient: codec::get(row, "recipient")?,
        subject: codec::get(row, "subject")?,
        state,
        attempts: attempts(row)?,
        queued: codec::get(row, "queued")?,
        due: (state == MailState::Queued)
            .then(|| codec::get(row, "due"))
            .transpose()?,
        ended: codec::get(row, "ended")?,
        reason: codec::get(row, "reason")?,
    })
}

fn attempts(row: &Row) -> Result<u32> {
    Ok(u32::try_from(codec::get::<i64>(row, "attempt")?).unwrap_or(u32::MAX))
}

/// Returns the number of mails that wait.
pub(super) async fn waiting(pool: &Pool) -> Result<i64> {
    let row = sqlx::query("SELECT count(*) AS n FROM alert_mails WHERE state = 0")
        .fetch_one(pool)
        .await?;
    codec::get(&row, "n")
}

/// Returns true if a mail is due.
pub(super) async fn is_due(pool: &Pool, now: UnixMs) -> Result<bool> {
    let row = sqlx::query("SELECT due FROM alert_mails WHERE state = 0 AND due <= $1 LIMIT 1")
        .bind(now)
        .fetch_optional(pool)
        .await?;
    Ok(row.is_some())
}

/// Takes mails that are due, in the order of their times.
pub(super) async fn claim(
    connection: &mut Conn,
    now: UnixMs,
    until: UnixMs,
    limit: usize,
) -> Result<Vec<NewMail>> {
    let mut tx = db::begin(connection).await?;
    let rows = sqlx::query(DUE.as_str())
        .bind(now)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&mut *tx)
        .await?;
    let mails: Vec<_> = rows.iter().map(mail).collect::<Result<_>>()?;
    for mail in &mails {
        sqlx::query(
            "UPDATE alert_mails SET due = $5, claimed = 1 WHERE project = $1 AND alert = $2 AND ending = $3 AND recipient = $4",
        )
        .bind(codec::id(&mail.project))
        .bind(codec::id(&mail.alert))
        .bind(code(mail.kind))
        .bind(codec::text(&mail.recipient))
        .bind(until)
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(mails)
}

fn mail(row: &Row) -> Result<NewMail> {
    Ok(NewMail {
        project: codec::project(row, "alert_mails", "project")?,
        alert: AlertId::from_bytes(codec::bytes(row, "alert_mails", "alert")?),
        kind: kind(row)?,
        recipient: codec::get(row, "recipient")?,
        subject: codec::get(row, "subject")?,
        text: codec::get(row, "body")?,
        queued: codec::get(row, "queued")?,
        attempt: attempts(row)?,
    })
}

/// Makes all mails due that a process had taken when it ended.
pub(super) async fn release(connection: &mut Conn, now: UnixMs) -> Result<u64> {
    let done = sqlx::query("UPDATE alert_mails SET due = $1, claimed = 0 WHERE state = 0 AND claimed = 1")
        .bind(now)
        .execute(connection)
        .await?;
    Ok(done.rows_affected())
}

/// Records the result of an attempt.
pub(super) async fn settle(
    connection: &mut Conn,
    mail: &NewMail,
    result: &MailResult,
    now: UnixMs,
) -> Result<()> {
    let (state, due, reason) = match result {
        MailResult::Sent => (1_i64, now, None),
        MailResult::Retry { due, reason } => (0, *due, Some(reason.as_str())),
        MailResult::Refused { reason } => (2, now, Some(reason.as_str())),
    };
    sqlx::query(
        "UPDATE alert_mails SET attempt = attempt + 1, claimed = 0, state = $5, due = $6, reason = $7, ended = $8 \
         WHERE project = $1 AND alert = $2 AND ending = $3 AND recipient = $4 AND state = 0",
    )
    .bind(codec::id(&mail.project))
    .bind(codec::id(&mail.alert))
    .bind(code(mail.kind))
    .bind(codec::text(&mail.recipient))
    .bind(state)
    .bind(due)
    .bind(reason.map(codec::text))
    .bind((state != 0).then_some(now))
    .execute(connection)
    .await?;
    Ok(())
}

/// Refuses mails that no process has sent since `before`, and deletes those that have ended before `ended`.
pub(super) async fn tidy(
    tx: &mut Conn,
    now: UnixMs,
    (before, ended): (UnixMs, UnixMs),
    limit: usize,
) -> Result<u64> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let refused = sqlx::query(
        "UPDATE alert_mails SET state = 2, ended = $2, reason = coalesce(reason, $3), claimed = 0 \
         WHERE (project, alert, ending, recipient) IN (SELECT project, alert, ending, recipient FROM alert_mails \
         WHERE state = 0 AND queued < $1 AND due < $2 LIMIT $4)",
    )
    .bind(before)
    .bind(now)
    .bind(NOT_SENT)
    .bind(limit)
    .execute(&mut *tx)
    .await?;
    let deleted = sqlx::query(
        "DELETE FROM alert_mails WHERE (project, alert, ending, recipient) IN \
         (SELECT project, alert, ending, recipient FROM alert_mails WHERE ended IS NOT NULL AND ended < $1 LIMIT $2)",
    )
    .bind(ended)
    .bind(limit)
    .execute(tx)
    .await?;
    Ok(refused.rows_affected() + deleted.rows_affected())
}
