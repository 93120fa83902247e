//! Tables of alerts and their rules.

use iottly_core::model::{AlertFilter, AlertSubject, AlertTarget};

use super::super::text::iso;
use super::optional;
use crate::auth::ProjectAccess;
use crate::csv::Csv;
use crate::error::ApiError;

/// Maximum number of alerts of a file, the newest ones.
const ALERTS: usize = 10_000;

/// Returns the alerts of a project, the newest first.
pub(super) async fn alerts(access: &ProjectAccess) -> Result<Csv, ApiError> {
    let store = &access.services().store;
    let mut csv = Csv::new(&[
        "name",
        "condition",
        "subject",
        "id",
        "detail",
        "raised",
        "cleared",
    ]);
    for alert in store.alerts(access.id(), AlertFilter::default(), ALERTS).await? {
        let (subject, id) = match alert.subject {
            AlertSubject::Device(id) => ("device", id.to_string()),
            AlertSubject::Group(id) => ("group", id.to_string()),
            AlertSubject::Project => ("project", String::new()),
        };
        csv.row(&[
            &alert.rule_name,
            &alert.condition,
            subject,
            &id,
            &alert.detail,
            &iso(alert.raised),
            &optional(alert.cleared),
        ]);
    }
    Ok(csv)
}

/// Returns the rules of a project.
pub(super) async fn rules(access: &ProjectAccess) -> Result<Csv, ApiError> {
    let mut csv = Csv::new(&[
        "name",
        "condition",
        "after_ms",
        "target",
        "id",
        "mails",
        "muted_until",
        "created",
    ]);
    for rule in access.services().store.alert_rules(access.id()).await? {
        let (target, id) = match rule.target {
            AlertTarget::Device(id) => ("device", id.to_string()),
            AlertTarget::Group(id) => ("group", id.to_string()),
            AlertTarget::Project => ("project", String::new()),
        };
        let after = rule
            .condition
            .after()
            .map(|after| after.to_string())
            .unwrap_or_default();
        csv.row(&[
            &rule.name,
            rule.condition.as_str(),
            &after,
            target,
            &id,
            &rule.mails.join(" "),
            &optional(rule.muted_until),
            &iso(rule.created),
        ]);
    }
    Ok(csv)
}
