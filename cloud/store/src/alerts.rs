//! Alerts: rules, raised and cleared alerts, and mails about them. Stores decisions and makes none; what a message means
//! for a rule is decided in the transaction that stores the message.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use iottly_protocol::{GroupId, ProjectId};

use crate::error::Result;
use iottly_core::alerts::{DeviceFacts, Effect, Raised, RuleSet, Span};
use iottly_core::model::{
    Alert, AlertFilter, AlertId, AlertRule, Mail, MailResult, NewMail, StoredMessage, UnixMs,
};

/// Maximum number of projects whose compiled rules are cached; beyond it, the cache is cleared.
const MAX_PROJECTS: usize = 10_000;

/// Store operations for alerts. Rules and mutes change through [`ChangeStore`](crate::ChangeStore).
#[async_trait]
pub trait AlertStore: Send + Sync + 'static {
    /// Returns the rules of a project, by name.
    async fn alert_rules(&self, project: ProjectId) -> Result<Vec<AlertRule>>;
    /// Returns the projects that have rules. For the cloud's own evaluation.
    async fn projects_with_alert_rules(&self) -> Result<Vec<ProjectId>>;
    /// Returns the raised alerts of a project, as far as decisions need them.
    async fn raised_alerts(&self, project: ProjectId) -> Result<Vec<Raised>>;
    /// Returns the number of raised alerts of a project.
    async fn raised_count(&self, project: ProjectId) -> Result<u64>;
    /// Returns alerts of a project, the newest raise first, at most `limit`.
    async fn alerts(&self, project: ProjectId, filter: AlertFilter, limit: usize) -> Result<Vec<Alert>>;
    /// Returns an alert.
    async fn alert(&self, project: ProjectId, id: AlertId) -> Result<Option<Alert>>;
    /// Returns the facts about the devices of a project that conditions over time are decided from; `sent` is none.
    async fn alert_facts(&self, project: ProjectId) -> Result<Vec<DeviceFacts>>;
    /// Returns the groups of a project whose rollout has halted itself.
    async fn halted_groups(&self, project: ProjectId) -> Result<Vec<GroupId>>;
    /// Carries effects out in one transaction, with the entries and mails about them; returns the entries. An alert that is
    /// raised already, by whomever, is not raised again.
    async fn apply_alerts(
        &self,
        project: ProjectId,
        effects: Vec<Effect>,
        now: UnixMs,
    ) -> Result<Vec<StoredMessage>>;
    /// Takes mails that are due, at most `limit`; until `until` no other process takes them.
    async fn claim_alert_mails(&self, now: UnixMs, until: UnixMs, limit: usize) -> Result<Vec<NewMail>>;
    /// Returns true if a mail is due.
    async fn alert_mail_is_due(&self, now: UnixMs) -> Result<bool>;
    /// Makes the mails due that a process had taken when it ended; returns their number.
    async fn release_alert_mails(&self, now: UnixMs) -> Result<u64>;
    /// Records the result of an attempt to send a mail.
    async fn settle_alert_mail(&self, mail: &NewMail, result: &MailResult, now: UnixMs) -> Result<()>;
    /// Returns mails of a project, the newest first, at most `limit`.
    async fn alert_mails(&self, project: ProjectId, limit: usize) -> Result<Vec<Mail>>;
    /// Returns the number of mails that a project has had in the hour of `now`.
    async fn alert_mails_in_hour(&self, project: ProjectId, now: UnixMs) -> Result<i64>;
    /// Returns the number of mails of all projects that wait. For the metrics.
    async fn alert_mails_waiting(&self) -> Result<i64>;
    /// Forgets times of the cloud that no condition reaches. Deletes cleared alerts beyond those that a project keeps. Refuses mails that wait since before the first of the times,
    /// and deletes those that ended before the second. At most `limit` of each; returns their number.
    async fn tidy_alerts(&self, now: UnixMs, mails: (UnixMs, UnixMs), limit: usize) -> Result<u64>;
    /// Notes that a process of the cloud looks at alerts; `process` is a random id of its own.
    async fn look_at_alerts(&self, process: [u8; 16], now: UnixMs) -> Result<()>;
    /// Returns the times in which the cloud was there, the newest first.
    async fn alert_looks(&self) -> Result<Vec<Span>>;
}

/// Rules of a project, compiled, as of a number of changes.
#[derive(Debug)]
pub(super) struct CompiledRules {
    pub(super) rules: Vec<AlertRule>,
    pub(super) set: RuleSet,
}

/// Compiled rules of projects.
#[derive(Debug, Default)]
pub(super) struct AlertCache(Mutex<HashMap<ProjectId, (i64, Arc<CompiledRules>)>>);

impl AlertCache {
    pub(super) fn get(&self, project: ProjectId, version: i64) -> Option<Arc<CompiledRules>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, rules) = all.get(&project)?;
        (*known == version).then(|| Arc::clone(rules))
    }

    pub(super) fn put(&self, project: ProjectId, version: i64, rules: Vec<AlertRule>) -> Arc<CompiledRules> {
        let set = RuleSet::new(&rules);
        let compiled = Arc::new(CompiledRules { rules, set });
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_PROJECTS && !all.contains_key(&project) {
            all.clear();
        }
        all.insert(project, (version, Arc::clone(&compiled)));
        compiled
    }
}
