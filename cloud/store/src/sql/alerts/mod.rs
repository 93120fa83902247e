//! Alerts: reading them, and the operations of their family.

use std::sync::LazyLock;

use async_trait::async_trait;
use iottly_protocol::{DeviceId, GroupId, ProjectId};
use sqlx::QueryBuilder;

use super::db::{self, Db, Row};
use super::usage::{self, Rooms};
use super::{Backend, codec, messages};
use crate::{AlertStore, Result};
use iottly_core::alerts::{DeviceFacts, Effect, Raised, Span};
use iottly_core::model::{
    Alert, AlertFilter, AlertId, AlertRule, AlertRuleId, AlertSubject, LONGEST_MS, Mail, MailResult, NewMail,
    StoredMessage, UnixMs,
};

mod looks;
mod mails;
mod observe;
mod raise;
mod rules;

pub(super) use mails::test as queue_test_mail;
pub(super) use observe::observe;
pub(super) use rules::{create, delete, mute, mute_alert};

const ALERT: &str = "SELECT project, id, rule, rule_name, condition, subject_kind, subject, detail, raised, seen, cleared, \
                     muted_until FROM alerts WHERE project = ";

/// Facts about all devices of a project.
static FACTS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT d.id, d.group_id, d.online, d.online_since, d.absent_from, d.absent_until, d.absent_reason \
         FROM devices d WHERE d.project = $1{}",
        db::IN_ORDER
    )
});

#[async_trait]
impl AlertStore for Backend {
    async fn alert_rules(&self, project: ProjectId) -> Result<Vec<AlertRule>> {
        rules::all(&self.readers, project).await
    }

    async fn projects_with_alert_rules(&self) -> Result<Vec<ProjectId>> {
        let rows = sqlx::query("SELECT DISTINCT project FROM alert_rules ORDER BY project")
            .fetch_all(&self.readers)
            .await?;
        rows.iter()
            .map(|row| codec::project(row, "alert_rules", "project"))
            .collect()
    }

    async fn raised_alerts(&self, project: ProjectId) -> Result<Vec<Raised>> {
        let query = sqlx::query(
            "SELECT id, rule, subject_kind, subject, seen FROM alerts WHERE project = $1 AND cleared IS NULL",
        );
        let rows = query.bind(codec::id(&project)).fetch_all(&self.readers).await?;
        let raised = |row: &Row| {
            Ok(Raised {
                id: AlertId::from_bytes(codec::bytes(row, "alerts", "id")?),
                rule: AlertRuleId::from_bytes(codec::bytes(row, "alerts", "rule")?),
                subject: subject(row)?,
                seen: codec::get(row, "seen")?,
            })
        };
        rows.iter().map(raised).collect()
    }

    async fn raised_count(&self, project: ProjectId) -> Result<u64> {
        let query = sqlx::query("SELECT count(*) AS n FROM alerts WHERE project = $1 AND cleared IS NULL");
        let row = query.bind(codec::id(&project)).fetch_one(&self.readers).await?;
        Ok(codec::get::<i64>(&row, "n")?.unsigned_abs())
    }

    async fn alerts(&self, project: ProjectId, filter: AlertFilter, limit: usize) -> Result<Vec<Alert>> {
        let mut query = QueryBuilder::<Db>::new(ALERT);
        query.push_bind(codec::id(&project).to_vec());
        match filter.raised {
            Some(true) => query.push(" AND cleared IS NULL"),
            Some(false) => query.push(" AND cleared IS NOT NULL"),
            None => &mut query,
        };
        if let Some(device) = filter.device {
            query.push(" AND subject_kind = 2 AND subject = ");
            query.push_bind(codec::id(&device).to_vec());
        }
        if let Some(rule) = filter.rule {
            query.push(" AND rule = ");
            query.push_bind(codec::id(&rule).to_vec());
        }
        if let Some((raised, id)) = filter.before {
            query.push(" AND (raised, id) < (");
            query.push_bind(raised).push(", ");
            query.push_bind(codec::id(&id).to_vec()).push(")");
        }
        query.push(" ORDER BY raised DESC, id DESC LIMIT ");
        query.push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = query.build().fetch_all(&self.readers).await?;
        rows.iter().map(alert).collect()
    }

    async fn alert(&self, project: ProjectId, id: AlertId) -> Result<Option<Alert>> {
        let mut query = QueryBuilder::<Db>::new(ALERT);
        query.push_bind(codec::id(&project).to_vec());
        query.push(" AND id = ");
        query.push_bind(codec::id(&id).to_vec());
        let row = query.build().fetch_optional(&self.readers).await?;
        row.as_ref().map(alert).transpose()
    }

    async fn alert_facts(&self, project: ProjectId) -> Result<Vec<DeviceFacts>> {
        let query = sqlx::query(FACTS.as_str()).bind(codec::id(&project));
        let rows = query.fetch_all(&self.readers).await?;
        let facts = |row: &Row| {
            Ok(DeviceFacts {
                device: DeviceId::from_bytes(codec::bytes(row, "devices", "id")?),
                group: codec::group(row, "devices", "group_id")?,
                online: codec::get(row, "online")?,
                changed: codec::get(row, "online_since")?,
                absence: super::devices::absence(row)?,
                sent: None,
                expected: false,
            })
        };
        rows.iter().map(facts).collect()
    }

    async fn halted_groups(&self, project: ProjectId) -> Result<Vec<GroupId>> {
        let query = sqlx::query(
            "SELECT DISTINCT group_id FROM rollouts WHERE project = $1 AND active = 1 AND status = 'halted'",
        );
        let rows = query.bind(codec::id(&project)).fetch_all(&self.readers).await?;
        rows.iter()
            .map(|row| codec::group(row, "rollouts", "group_id"))
            .collect()
    }

    async fn apply_alerts(
        &self,
        project: ProjectId,
        effects: Vec<Effect>,
        now: UnixMs,
    ) -> Result<Vec<StoredMessage>> {
        let mut writer = self.write().await?;
        let mut tx = db::begin(&mut writer).await?;
        // The locks of the ingest, in its order.
        db::make_room(&mut tx, std::iter::once(now)).await?;
        usage::lock(&mut tx, project).await?;
        let mut rooms = Rooms::of(&mut tx, [project].into(), now).await?;
        let rules = rules::within(&mut tx, project).await?;
        let mut raising = raise::Raising::new(&self.ids, &mut rooms, &rules, project, now);
        let mut entries = Vec::new();
        for effect in effects {
            entries.extend(raising.apply(&mut tx, effect).await?);
        }
        let stored: Vec<_> = entries.iter().collect();
        let enqueued = messages::insert(&mut tx, &self.webhook_cache, &stored).await?;
        tx.commit().await?;
        enqueued.announce(&self.webhook_cache);
        Ok(entries)
    }

    async fn claim_alert_mails(&self, now: UnixMs, until: UnixMs, limit: usize) -> Result<Vec<NewMail>> {
        mails::claim(&mut *self.write().await?, now, until, limit).await
    }

    async fn alert_mail_is_due(&self, now: UnixMs) -> Result<bool> {
        mails::is_due(&self.readers, now).await
    }

    async fn release_alert_mails(&self, now: UnixMs) -> Result<u64> {
        mails::release(&mut *self.write().await?, now).await
    }

    async fn settle_alert_mail(&self, mail: &NewMail, result: &MailResult, now: UnixMs) -> Result<()> {
        mails::settle(&mut *self.write().await?, mail, result, now).await
    }

    async fn alert_mails(&self, project: ProjectId, limit: usize) -> Result<Vec<Mail>> {
        mails::newest(&self.readers, project, limit).await
    }

    async fn alert_mails_in_hour(&self, project: ProjectId, now: UnixMs) -> Result<i64> {
        mails::in_this_hour(&self.readers, project, now).await
    }

    async fn alert_mails_waiting(&self) -> Result<i64> {
        mails::waiting(&self.readers).await
    }

    async fn tidy_alerts(&self, now: UnixMs, mails: (UnixMs, UnixMs), limit: usize) -> Result<u64> {
        let mut writer = self.write().await?;
        let mut tx = db::begin(&mut writer).await?;
        let tidied = raise::tidy(&mut tx, limit).await? + mails::tidy(&mut tx, now, mails, limit).await?;
        looks::tidy(&mut tx, now.saturating_sub(LONGEST_MS)).await?;
        tx.commit().await?;
        Ok(tidied)
    }

    async fn look_at_alerts(&self, process: [u8; 16], now: UnixMs) -> Result<()> {
        looks::look(&mut *self.write().await?, process, now).await
    }

    async fn alert_looks(&self) -> Result<Vec<Span>> {
        looks::spans(&self.readers).await
    }
}

fn alert(row: &Row) -> Result<Alert> {
    Ok(Alert {
        id: AlertId::from_bytes(codec::bytes(row, "alerts", "id")?),
        project: codec::project(row, "alerts", "project")?,
        rule: AlertRuleId::from_bytes(codec::bytes(row, "alerts", "rule")?),
        rule_name: codec::get(row, "rule_name")?,
        condition: codec::get(row, "condition")?,
        subject: subject(row)?,
        detail: codec::get(row, "detail")?,
        raised: codec::get(row, "raised")?,
        seen: codec::get(row, "seen")?,
        cleared: codec::get(row, "cleared")?,
        muted_until: codec::get(row, "muted_until")?,
    })
}

fn subject(row: &Row) -> Result<AlertSubject> {
    let kind: i64 = codec::get(row, "subject_kind")?;
    Ok(match kind {
        2 => AlertSubject::Device(DeviceId::from_bytes(codec::bytes(row, "alerts", "subject")?)),
        1 => AlertSubject::Group(codec::group(row, "alerts", "subject")?),
        _ => AlertSubject::Project,
    })
}

/// Returns kind and id of a subject, as the tables hold them.
fn stored(subject: &AlertSubject) -> (i64, &[u8]) {
    match subject {
        AlertSubject::Device(device) => (2, codec::id(device)),
        AlertSubject::Group(group) => (1, codec::id(group)),
        AlertSubject::Project => (0, &[]),
    }
}
