//! Pages of the changes of a project and of an organisation: who, when, what, and from where.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use iottly_core::short_form::AUDIT;
use maud::{Markup, html};
use serde::Deserialize;

use super::kit::csv::csv_link;
use super::kit::empty::{empty, part, shown};
use super::kit::filter::{FilterBox, filter_box};
use super::kit::script::{script, word};
use super::layout::{IntoHtml, Page, failure};
use super::members::{Place, place};
use super::person::LoggedIn;
use super::shell::{Screen, Section};
use super::tables::organization_audit;
use super::text;
use super::visitor::{Refusal, Visitor};
use crate::api::audit::{AuditFilter, LogOf, MAX_EXAMINED, entries, lines};
use crate::app::{App, WebServices};
use crate::error::ApiError;
use iottly_core::model::{AuditEntry, Scopes};

/// Number of entries on a page.
const ENTRIES: usize = 100;

/// Query of the page.
#[derive(Deserialize)]
pub(super) struct Asked {
    filter: Option<String>,
    /// Number of an entry: the page shows the ones before it.
    before: Option<u64>,
}

impl Asked {
    fn text(&self) -> &str {
        self.filter.as_deref().unwrap_or_default().trim()
    }
}

/// Entries of a page, or the reason for which the filter is none.
struct Found {
    entries: Vec<AuditEntry>,
    /// Number behind which the next page begins.
    next: Option<u64>,
    json: Option<String>,
    problem: Option<ApiError>,
}

/// Reads the entries of a page.
async fn found(services: &WebServices, log: LogOf, asked: &Asked) -> Result<Found, ApiError> {
    let nothing = |json, problem| Found {
        entries: Vec::new(),
        next: None,
        json,
        problem: Some(problem),
    };
    let filter = match AuditFilter::of(asked.text()) {
        Ok(filter) => filter,
        Err(problem) => return Ok(nothing(None, problem)),
    };
    let found = entries(
        (services.store.as_ref(), log),
        filter.as_ref(),
        (asked.before, ENTRIES),
    )
    .await;
    let json = filter.map(|filter| filter.json);
    match found {
        Ok(found) => Ok(Found {
            entries: found.entries,
            next: found.next,
            json,
            problem: None,
        }),
        Err(problem) if problem.status().is_client_error() => Ok(nothing(json, problem)),
        Err(error) => Err(error),
    }
}

/// Shows the changes of the project, to logins with the scope `admin`.
pub(super) async fn of_project(
    visitor: Result<Visitor, Refusal>,
    Query(asked): Query<Asked>,
) -> Result<Response, Refusal> {
    let visitor = visitor?;
    let project = &visitor.project;
    project.require(Scopes::ADMIN)?;
    let found = part(found(project.services(), LogOf::Project(project.id()), &asked).await)?;
    let (base, filter) = (visitor.base(), text::escaped(asked.text()));
    let content = html! {
        div.head { div { h1 { "Audit log" } p.lede { "Who changed what, when, and from where." } }
            div.actions {
                (csv_link(&format!("{base}/csv/audit?filter={filter}"), "audit.csv"))
                a.button data-size="s" href={ (base) "/audit.jsonl?filter=" (filter) } download="audit.jsonl" { "JSON lines" }
            } }
        (list(&format!("{base}/audit"), &asked, &found))
        (same(&asked))
    };
    let screen = Screen {
        section: Section::Audit,
        title: "Audit log",
        crumbs: &[],
        events: None,
        scripts: &["suggest.js"],
        content,
    };
    let problem = found.as_ref().ok().and_then(|found| found.problem.as_ref());
    let status = problem.map_or(StatusCode::OK, ApiError::status);
    Ok((status, screen.respond(&visitor).await?).into_response())
}

/// Returns the box for the filter, and the entries of a page.
fn list(own: &str, asked: &Asked, read: &Result<Found, ApiError>) -> Markup {
    let found = read.as_ref().ok();
    html! {
        (filter_box("audit", &FilterBox {
            action: own,
            text: asked.text(),
            placeholder: "who:anne action:device.* at>2026-11-26",
            result: html! { @if let Some(found) = found { (counted(found)) } },
            json: found.and_then(|found| found.json.as_deref()),
            problem: found.and_then(|found| found.problem.as_ref()).map(ApiError::message),
            examples: AUDIT.suggestions("").collect(),
            more: html! {},
        }))
        section.card data-flush {
            (shown(read, "The entries could not be read", |found| of_page(own, asked, found)))
        }
    }
}

fn counted(found: &Found) -> Markup {
    let count = found.entries.len();
    html! { b { (count) @if count == 1 { " entry" } @else { " entries" } @if found.next.is_some() { ", and older ones" } } }
}

/// Returns the entries of a page, with the way to the others.
fn of_page(own: &str, asked: &Asked, found: &Found) -> Markup {
    let text = asked.text();
    let with = |before: u64| format!("{own}?filter={}&before={before}", text::escaped(text));
    html! {
        @if !found.entries.is_empty() { (table(&found.entries)) }
        @else if found.problem.is_some() { p.empty { "Nothing is shown while the filter is not valid." } }
        @else if found.next.is_some() { (empty("No entry matches yet", &format!("None of the next {MAX_EXAMINED} entries matches the filter."), &html! {})) }
        @else if text.is_empty() && asked.before.is_none() { p.empty { "Nothing was changed yet." } }
        @else { (empty("No entry matches", "None of the stored entries matches.", &html! { a.button href=(own) { "Show all entries" } })) }
        div.card-foot {
            span { "Newest first, times in UTC" }
            span.actions {
                @if asked.before.is_some() { a.button data-size="s" href={ (own) "?filter=" (text::escaped(text)) } { "Newest" } }
                @if let Some(next) = found.next { a.button data-size="s" href=(with(next)) rel="next" { "Older" } }
            }
        }
    }
}

/// Returns the box with the same entries from a script.
fn same(asked: &Asked) -> Markup {
    let (mut line, mut path) = (
        format!("iottly audit --limit {ENTRIES}"),
        format!("/auditlog?numEntries={ENTRIES}"),
    );
    if let Some(before) = asked.before {
        line += &format!(" --before {before}");
        path += &format!("&before={before}");
    }
    if !asked.text().is_empty() {
        line += &format!(" --filter {}", word(asked.text()));
        path += &format!("&filter={}", text::escaped(asked.text()));
    }
    script(&line, ("GET", &path, None))
}

/// Returns the changes of the project as lines of JSON, to logins with the scope `admin`.
pub(super) async fn lines_of_project(
    visitor: Visitor,
    State(app): State<App>,
    Query(asked): Query<Asked>,
) -> Response {
    let file = lines(&visitor.project, asked.text(), app.closing).await;
    file.unwrap_or_else(|error| failure(&error))
}

/// Shows the changes of an organisation, to its members.
pub(super) async fn of_organization(
    person: LoggedIn,
    State(app): State<App>,
    Path(organization): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    let shown = async {
        let place = place(&app, &person, &organization).await?;
        let found = part(found(&app.services, LogOf::Organization(place.id), &asked).await)?;
        Ok::<_, ApiError>(page(&person.person.name, &place, &asked, &found))
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

fn page(name: &str, place: &Place, asked: &Asked, found: &Result<Found, ApiError>) -> Response {
    let content = html! {
        div.head { h1 { "Changes of " (place.name) }
            div.actions { (csv_link(&format!("/members/{}/audit/csv", place.id), "organization-audit.csv")) } }
        (list(&format!("/members/{}/audit", place.id), asked, found))
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
                        td.break.actor { (entry.actor) }
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
