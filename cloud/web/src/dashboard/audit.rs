//! Pages of the newest changes of a project and of an organisation: who, when, what, and from where.

use axum::extract::{Path, State};
use axum::response::Response;
use maud::{Markup, html};

use super::kit::csv::csv_link;
use super::kit::script::script;
use super::layout::{IntoHtml, Page, failure};
use super::members::{Place, place};
use super::person::LoggedIn;
use super::shell::{Screen, Section};
use super::tables::organization_audit;
use super::text;
use super::visitor::{Refusal, Visitor};
use crate::app::App;
use crate::error::ApiError;
use iottly_core::model::{AuditEntry, Scopes};

/// Number of entries on a page; the API has the older ones.
const ENTRIES: usize = 100;

/// Shows the changes of the project, to logins with the scope `admin`.
pub(super) async fn of_project(visitor: Result<Visitor, Refusal>) -> Result<Response, Refusal> {
    let visitor = visitor?;
    let project = &visitor.project;
    project.require(Scopes::ADMIN)?;
    let store = &project.services().store;
    let entries = store
        .audit(project.id(), None, ENTRIES)
        .await
        .map_err(ApiError::from)?;
    let content = html! {
        div.head { div { h1 { "Audit log" } p.lede { "Who changed what, when, and from where. The newest " (ENTRIES) " entries; the file has the older ones." } }
            div.actions { (csv_link(&format!("{}/csv/audit", visitor.base()), "audit.csv")) } }
        section.card data-flush { @if entries.is_empty() { p.empty { "Nothing was changed yet." } } @else { (table(&entries)) } }
        (script("iottly audit --limit 100", ("GET", "/auditlog", None)))
    };
    let screen = Screen {
        section: Section::Audit,
        title: "Audit log",
        crumbs: &[],
        events: None,
        scripts: &[],
        content,
    };
    Ok(screen.respond(&visitor).await?)
}

/// Shows the changes of an organisation, to its members.
pub(super) async fn of_organization(
    person: LoggedIn,
    State(app): State<App>,
    Path(organization): Path<String>,
) -> Response {
    let shown = async {
        let place = place(&app, &person, &organization).await?;
        let store = &app.services.store;
        let entries = store.organization_audit(place.id, None, ENTRIES).await?;
        Ok::<_, ApiError>(page(&person.person.name, &place, &entries))
    };
    shown.await.unwrap_or_else(|error| failure(&error))
}

/// Returns the changes of an organisation as a file, to its members.
pub(super) async fn csv_of_organization(
    person: LoggedIn,
    State(app): State<App>,
    Path(organization): Path<String>,
) -> Response {
    let file = async {
        let place = place(&app, &person, &organization).await?;
        organization_audit(app, place.id).await
    };
    file.await.unwrap_or_else(|error| failure(&error))
}

fn page(name: &str, place: &Place, entries: &[AuditEntry]) -> Response {
    let content = html! {
        div.head { h1 { "Changes of " (place.name) }
            div.actions { (csv_link(&format!("/members/{}/audit/csv", place.id), "organization-audit.csv")) } }
        @if entries.is_empty() { p.soft { "Nothing was changed yet." } }
        @else { (table(entries)) }
    };
    Page {
        title: "Changes",
        name: Some(name),
        content,
    }
    .render()
    .into_response_html()
}

fn table(entries: &[AuditEntry]) -> Markup {
    html! {
        table.table {
            thead { tr { th { "When" } th { "Who" } th.p3 { "From" } th { "What" } th.p2 { "Of" } th.p2 { "Details" } } }
            tbody {
                @for entry in entries {
                    @let at = text::iso(entry.at);
                    @let (date, time) = at.split_once('T').unwrap_or((at.as_str(), ""));
                    tr {
                        td { time datetime=(at) { (date) "T" wbr; (time) } }
                        td.break { (entry.actor) }
                        td.p3 { @if let Some(address) = entry.address { (address) } }
                        td { code { (entry.action) } }
                        td.p2.break { (entry.target) }
                        td.p2.break { (entry.detail) }
                    }
                }
            }
        }
    }
}
