//! Audit logs of projects and organisations as tables.

use std::sync::Arc;

use axum::response::Response;
use iottly_core::model::{AuditEntry, OrganizationId, Scopes};
use tokio::sync::watch;

use super::super::text::iso;
use super::{Asked, PART, listed};
use crate::api::audit::{AuditFilter, LogOf, entries};
use crate::app::App;
use crate::auth::ProjectAccess;
use crate::csv::{Csv, streamed};
use crate::error::ApiError;

/// Columns of the changes of a project or an organisation.
const CHANGES: [&str; 6] = ["time", "actor", "address", "action", "target", "detail"];

fn change(csv: &mut Csv, entry: &AuditEntry) {
    let address = entry.address.map(|address| address.to_string());
    csv.row(&[
        &iso(entry.at),
        &entry.actor,
        &address.unwrap_or_default(),
        &entry.action,
        &entry.target,
        &entry.detail,
    ]);
}

/// Returns the changes of a project as a file.
pub(super) async fn of_project(
    access: ProjectAccess,
    asked: Asked,
    closing: watch::Receiver<bool>,
) -> Result<Response, ApiError> {
    access.require(Scopes::ADMIN)?;
    let filter = Arc::new(AuditFilter::of(asked.filter.as_deref().unwrap_or_default())?);
    let next = move |before: Option<u64>| {
        let (access, filter) = (access.clone(), Arc::clone(&filter));
        async move {
            let log = (access.services().store.as_ref(), LogOf::Project(access.id()));
            let found = entries(log, filter.as_ref().as_ref(), (before, PART)).await?;
            let mut csv = Csv::default();
            for entry in &found.entries {
                change(&mut csv, entry);
            }
            Ok((csv, found.next.map(Some)))
        }
    };
    streamed("audit.csv", &CHANGES, (None, next), closing).await
}

/// Returns the changes of an organisation as a file.
pub(in super::super) async fn of_organization(
    app: App,
    organization: OrganizationId,
) -> Result<Response, ApiError> {
    let store = app.services.store.clone();
    let read = move |before| {
        let store = store.clone();
        async move { store.organization_audit(organization, before, PART).await }
    };
    listed(
        "organization-audit.csv",
        &CHANGES,
        read,
        change,
        |entry: &AuditEntry| entry.number,
        app.closing,
    )
    .await
}
