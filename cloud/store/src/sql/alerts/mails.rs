//! Mails about alerts that wait to be sent.

use iottly_protocol::ProjectId;

use super::super::codec;
use super::super::db::{self, Conn, Row};
use crate::Result;
use iottly_core::alerts::mail_text;
use iottly_core::model::{Alert, AlertId, MAX_MAILS_PER_HOUR, NewMail, UnixMs};

const HOUR_MS: UnixMs = 60 * 60 * 1000;

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
        sqlx::query(
            "INSERT INTO alert_mails (project, alert, ending, recipient, subject, body, attempt, due) \
             VALUES ($1, $2, $3, $4, $5, $6, 0, $7) ON CONFLICT DO NOTHING",
        )
        .bind(codec::id(&alert.project))
        .bind(codec::id(&alert.id))
        .bind(i64::from(ends))
        .bind(codec::text(recipient))
        .bind(codec::text(&subject))
        .bind(codec::text(&text))
        .bind(now)
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

async fn take_allowance(tx: &mut Conn, project: ProjectId, now: UnixMs) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE projects SET mail_count = CASE WHEN mail_hour = $2 THEN mail_count + 1 ELSE 1 END, mail_hour = $2 \
         WHERE id = $1 AND (mail_hour <> $2 OR mail_count < $3)",
    )
    .bind(codec::id(&project))
    .bind(now.div_euclid(HOUR_MS))
    .bind(MAX_MAILS_PER_HOUR)
    .execute(tx)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Takes mails that are due.
pub(super) async fn claim(
    connection: &mut Conn,
    now: UnixMs,
    until: UnixMs,
    limit: usize,
) -> Result<Vec<NewMail>> {
    let mut tx = db::begin(connection).await?;
    let rows = sqlx::query(
        "SELECT project, alert, ending, recipient, subject, body, attempt FROM alert_mails WHERE due <= $1 ORDER BY due LIMIT $2",
    )
    .bind(now)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(&mut *tx)
    .await?;
    let mut claimed = Vec::new();
    for mail in rows.iter().map(mail) {
        let mail = mail?;
        // Another process may have taken it since.
        let done = sqlx::query(
            "UPDATE alert_mails SET due = $5 WHERE project = $1 AND alert = $2 AND ending = $3 AND recipient = $4 AND due <= $6",
        )
        .bind(codec::id(&mail.project))
        .bind(codec::id(&mail.alert))
        .bind(i64::from(mail.ends))
        .bind(codec::text(&mail.recipient))
        .bind(until)
        .bind(now)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() > 0 {
            claimed.push(mail);
        }
    }
    tx.commit().await?;
    Ok(claimed)
}

fn mail(row: &Row) -> Result<NewMail> {
    let attempt: i64 = codec::get(row, "attempt")?;
    Ok(NewMail {
        project: codec::project(row, "alert_mails", "project")?,
        alert: AlertId::from_bytes(codec::bytes(row, "alert_mails", "alert")?),
        ends: codec::get::<i64>(row, "ending")? != 0,
        recipient: codec::get(row, "recipient")?,
        subject: codec::get(row, "subject")?,
        text: codec::get(row, "body")?,
        attempt: u32::try_from(attempt).unwrap_or(u32::MAX),
    })
}

/// Deletes a mail, or sets the time of its next attempt.
pub(super) async fn settle(connection: &mut Conn, mail: &NewMail, next: Option<UnixMs>) -> Result<()> {
    let sql = match next {
        None => {
            "DELETE FROM alert_mails WHERE project = $1 AND alert = $2 AND ending = $3 AND recipient = $4"
        }
        Some(_) => {
            "UPDATE alert_mails SET due = $5, attempt = attempt + 1 WHERE project = $1 AND alert = $2 AND ending = $3 AND recipient = $4"
        }
    };
    let mut query = sqlx::query(sql)
        .bind(codec::id(&mail.project))
        .bind(codec::id(&mail.alert))
        .bind(i64::from(mail.ends))
        .bind(codec::text(&mail.recipient));
    if let Some(due) = next {
        query = query.bind(due);
    }
    query.execute(connection).await?;
    Ok(())
}

/// Deletes mails that have waited since before a time: no process sends them.
pub(super) async fn drop_older(tx: &mut Conn, before: UnixMs, limit: usize) -> Result<u64> {
    let done = sqlx::query(
        "DELETE FROM alert_mails WHERE (project, alert, ending, recipient) IN \
         (SELECT project, alert, ending, recipient FROM alert_mails WHERE due < $1 LIMIT $2)",
    )
    .bind(before)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .execute(tx)
    .await?;
    Ok(done.rows_affected())
}
