//! Raises and clears alerts, with the entry in the history and the mails about it, in the caller's transaction.

use std::time::Instant;

use iottly_protocol::ProjectId;
use serde_json::json;
use serde_json::value::to_raw_value;

use super::super::db::Conn;
use super::super::usage::Rooms;
use super::super::{codec, messages};
use super::{alert, mails, stored};
use crate::Result;
use iottly_core::alerts::Effect;
use iottly_core::model::{
    Alert, AlertId, AlertRule, AlertRuleId, AlertSubject, MAX_KEPT_ALERTS, NO_DEVICE, Scope, StoredMessage,
    UnixMs,
};
use iottly_core::{MessageIds, RateLimitedLog};

/// Limits the log rate: a condition that holds is looked at again and again.
static REFUSED: RateLimitedLog = RateLimitedLog::of_a_minute();

/// Inputs of a raise beside the transaction.
pub(super) struct Raising<'a> {
    ids: &'a MessageIds,
    rooms: &'a mut Rooms,
    rules: &'a [AlertRule],
    project: ProjectId,
    now: UnixMs,
    /// Number of raised alerts of the project; none before it is needed.
    open: Option<i64>,
}

impl<'a> Raising<'a> {
    pub(super) fn new(
        ids: &'a MessageIds,
        rooms: &'a mut Rooms,
        rules: &'a [AlertRule],
        project: ProjectId,
        now: UnixMs,
    ) -> Self {
        Self {
            ids,
            rooms,
            rules,
            project,
            now,
            open: None,
        }
    }

    /// Carries an effect out; returns the entry about it, which the caller inserts.
    pub(super) async fn apply(&mut self, tx: &mut Conn, effect: Effect) -> Result<Option<StoredMessage>> {
        match effect {
            Effect::Raise {
                rule,
                subject,
                detail,
            } => self.raise(tx, rule, subject, &detail).await,
            Effect::Clear { rule, subject } => self.clear(tx, rule, subject).await,
        }
    }

    fn rule(&self, id: AlertRuleId) -> Option<&AlertRule> {
        self.rules.iter().find(|rule| rule.id == id)
    }

    async fn raise(
        &mut self,
        tx: &mut Conn,
        rule: AlertRuleId,
        subject: AlertSubject,
        detail: &str,
    ) -> Result<Option<StoredMessage>> {
        // The rule may have been removed since the decision.
        let Some(known) = self.rule(rule).cloned() else {
            return Ok(None);
        };
        let (kind, id) = stored(&subject);
        let seen = sqlx::query(
            "UPDATE alerts SET seen = $4 WHERE project = $1 AND rule = $2 AND subject = $3 AND cleared IS NULL",
        )
        .bind(codec::id(&self.project))
        .bind(codec::id(&rule))
        .bind(id)
        .bind(self.now)
        .execute(&mut *tx)
        .await?;
        if seen.rows_affected() > 0 {
            return Ok(None);
        }
        let open = self.open(tx).await?;
        if open.is_none_or(|open| open >= subject.max_open()) {
            if let Some(more) = open.and_then(|_| REFUSED.ask(Instant::now())) {
                tracing::warn!(project.id = %self.project, rule.id = %rule, lines.left_out = more,
                    "a project has its maximum of raised alerts; others are not raised until some of them clear");
            }
            return Ok(None);
        }
        let raised = Alert {
            id: AlertId::random(),
            project: self.project,
            rule,
            rule_name: known.name.clone(),
            condition: known.condition.as_str().to_owned(),
            subject,
            detail: detail.to_owned(),
            raised: self.now,
            seen: self.now,
            cleared: None,
            muted_until: None,
        };
        let done = sqlx::query(
            "INSERT INTO alerts (project, id, rule, rule_name, condition, subject_kind, subject, detail, raised, seen) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9) ON CONFLICT DO NOTHING",
        )
        .bind(codec::id(&self.project))
        .bind(codec::id(&raised.id))
        .bind(codec::id(&rule))
        .bind(codec::text(&raised.rule_name))
        .bind(&raised.condition)
        .bind(kind)
        .bind(id)
        .bind(codec::text(detail))
        .bind(self.now)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(None);
        }
        self.open = open.map(|open| open + 1);
        if known.is_mute(self.now) {
            return Ok(None);
        }
        self.notify(tx, &raised, Some(&known), false).await
    }

    /// Returns the number of raised alerts of the project, which is read once; none if the project is gone.
    async fn open(&mut self, tx: &mut Conn) -> Result<Option<i64>> {
        if self.open.is_none() {
            let row = sqlx::query(
                "SELECT count(*) AS n, (SELECT count(*) FROM projects WHERE id = $1) AS known FROM alerts \
                 WHERE project = $1 AND cleared IS NULL",
            )
            .bind(codec::id(&self.project))
            .fetch_one(tx)
            .await?;
            // The project may have been deleted since its rules were read.
            let is_known = codec::get::<i64>(&row, "known")? > 0;
            self.open = is_known.then_some(codec::get(&row, "n")?);
        }
        Ok(self.open)
    }

    async fn clear(
        &mut self,
        tx: &mut Conn,
        rule: AlertRuleId,
        subject: AlertSubject,
    ) -> Result<Option<StoredMessage>> {
        let (_, id) = stored(&subject);
        let row = sqlx::query(
            "UPDATE alerts SET cleared = $4 WHERE project = $1 AND rule = $2 AND subject = $3 AND cleared IS NULL \
             RETURNING project, id, rule, rule_name, condition, subject_kind, subject, detail, raised, seen, cleared, muted_until",
        )
        .bind(codec::id(&self.project))
        .bind(codec::id(&rule))
        .bind(id)
        .bind(self.now)
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(None) };
        self.open = self.open.map(|open| open - 1);
        let cleared = alert(&row)?;
        let known = self.rule(rule).cloned();
        let mute = cleared.muted_until.is_some_and(|until| self.now < until)
            || known.as_ref().is_some_and(|rule| rule.is_mute(self.now));
        if mute {
            return Ok(None);
        }
        self.notify(tx, &cleared, known.as_ref(), true).await
    }

    /// Queues the mails about an alert and returns its entry; no entry in a project without room for it.
    async fn notify(
        &mut self,
        tx: &mut Conn,
        alert: &Alert,
        rule: Option<&AlertRule>,
        ends: bool,
    ) -> Result<Option<StoredMessage>> {
        let name = name(tx, alert).await?;
        if let Some(rule) = rule {
            mails::queue(tx, alert, &name, ends, &rule.mails, self.now).await?;
        }
        let payload = json!({"alert": {
            "id": alert.id,
            "state": if ends { "cleared" } else { "raised" },
            "rule": alert.rule,
            "name": alert.rule_name,
            "condition": alert.condition,
            "subject": name,
            "detail": alert.detail,
            "raised": alert.raised,
        }});
        let payload = to_raw_value(&payload).expect("a value serializes without failing");
        if !self.rooms.own(self.project, payload.get().len()) {
            return Ok(None);
        }
        let device = match alert.subject {
            AlertSubject::Device(device) => device,
            // Entries about the project itself, and about groups, are in a history of no device.
            AlertSubject::Group(_) | AlertSubject::Project => NO_DEVICE,
        };
        let scope = Scope {
            project: self.project,
            device,
        };
        Ok(Some(messages::agent_message(self.ids, scope, self.now, payload)))
    }
}

/// Returns the name of an alert's subject.
async fn name(tx: &mut Conn, alert: &Alert) -> Result<String> {
    let (sql, id) = match &alert.subject {
        AlertSubject::Device(device) => (
            "SELECT name FROM devices WHERE project = $1 AND id = $2",
            codec::id(device),
        ),
        AlertSubject::Group(group) => (
            "SELECT name FROM groups WHERE project = $1 AND id = $2",
            codec::id(group),
        ),
        AlertSubject::Project => (
            "SELECT name FROM projects WHERE id = $1 AND id = $2",
            codec::id(&alert.project),
        ),
    };
    let row = sqlx::query(sql)
        .bind(codec::id(&alert.project))
        .bind(id)
        .fetch_optional(tx)
        .await?;
    row.map_or(Ok(String::new()), |row| codec::get(&row, "name"))
}

/// Deletes cleared alerts beyond those that a project keeps; of one project in a call.
pub(super) async fn tidy(tx: &mut Conn, limit: usize) -> Result<u64> {
    let row = sqlx::query(
        "SELECT project FROM alerts WHERE cleared IS NOT NULL GROUP BY project HAVING count(*) > $1 LIMIT 1",
    )
    .bind(MAX_KEPT_ALERTS)
    .fetch_optional(&mut *tx)
    .await?;
    let Some(row) = row else { return Ok(0) };
    let project = codec::project(&row, "alerts", "project")?;
    let done = sqlx::query(
        "DELETE FROM alerts WHERE project = $1 AND id IN (SELECT id FROM alerts WHERE project = $1 AND cleared IS NOT NULL \
         ORDER BY cleared DESC, id DESC LIMIT $3 OFFSET $2)",
    )
    .bind(codec::id(&project))
    .bind(MAX_KEPT_ALERTS)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .execute(tx)
    .await?;
    Ok(done.rows_affected())
}
