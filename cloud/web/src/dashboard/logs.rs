//! The log lines of all devices of a project, with a search.

use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use iottly_core::model::UnixMs;
use maud::{Markup, html};
use serde::Deserialize;

use super::kit::csv::csv_link;
use super::kit::empty::{broken, empty, part};
use super::kit::icons::{Icon, icon};
use super::kit::script::script;
use super::layout::failure;
use super::shell::{Screen, Section};
use super::text;
use super::visitor::Visitor;
use crate::api::dto::DeviceLogDto;
use crate::api::logs::{log_query, project_logs};
use crate::error::ApiError;

/// Number of lines of a page.
const LINES: usize = 200;
/// Least severe levels that the page offers.
const LEVELS: [(&str, &str); 4] = [
    ("", "All"),
    ("info", "Info"),
    ("warn", "Warnings"),
    ("error", "Errors"),
];

/// Query of the page.
#[derive(Deserialize)]
pub(super) struct Asked {
    level: Option<String>,
    search: Option<String>,
    until: Option<UnixMs>,
}

pub(super) async fn show(visitor: Visitor, Query(asked): Query<Asked>) -> Response {
    page(&visitor, &asked)
        .await
        .unwrap_or_else(|error| failure(&error))
}

async fn page(visitor: &Visitor, asked: &Asked) -> Result<Response, ApiError> {
    let (base, own) = (visitor.base(), format!("{}/logs", visitor.base()));
    let level = asked.level.as_deref().unwrap_or_default();
    let search = asked.search.as_deref().unwrap_or_default().trim();
    let (lines, problem) = match log_query(Some(level), Some(search), asked.until, LINES) {
        Ok(query) => (part(project_logs(&visitor.project, &query).await)?, None),
        Err(error) => (Ok(Vec::new()), Some(error)),
    };
    let read = lines;
    let lines = read.as_deref().unwrap_or_default();
    let status = problem.as_ref().map_or(StatusCode::OK, ApiError::status);
    let with = |level: &str| format!("{own}?level={level}&search={}", text::escaped(search));
    let older = lines.last().filter(|_| lines.len() == LINES).map(|last| {
        let until = last.line.devicetimestamp.at().saturating_sub(1);
        format!("{}&until={until}", with(level))
    });
    let content = html! {
        div.head {
            div { h1 { "Logs" } p.lede { "What the firmware of all devices logged, by the devices' own clocks." } }
            div.actions { (csv_link(&format!("{base}/csv/logs?level={level}&search={}", text::escaped(search)), "logs.csv")) }
        }
        form.filter role="search" action=(own) {
            input type="hidden" name="level" value=(level);
            div.filter-box {
                (icon(Icon::Find))
                label.sr for="f" { "Text to find" }
                input #f name="search" value=(search) placeholder="sensor does not answer" autocomplete="off" aria-invalid=[problem.as_ref().map(|_| "true")];
                button data-kind="plain" { "Find" }
            }
            p.filter-note { @match &problem {
                Some(problem) => span.field-problem role="alert" { (problem.message()) },
                None => @if read.is_ok() { span { b { (lines.len()) " lines" } @if !search.is_empty() { " of the newest 50,000" } } },
            } }
        }
        nav.seg aria-label="Level" { @for (value, name) in LEVELS { a href=(with(value)) aria-current=[(value == level).then_some("true")] { (name) } } }
        section.card data-flush {
            @if let Err(error) = &read {
                (broken("The lines could not be read", error.message()))
            } @else if lines.is_empty() {
                @if search.is_empty() && level.is_empty() {
                    (empty("No log lines yet", "Lines that firmware logs appear here, with their level.", &html! {}))
                } @else {
                    (empty("No line matches", "No line of this level has the text.", &html! { a.button href=(own) { "Show all lines" } }))
                }
            } @else {
                ol.stream data-with="device" { @for line in lines { (row(line, &base)) } }
            }
            div.card-foot { span { "Newest first, times in UTC" } @if let Some(older) = &older { a.button data-size="s" href=(older) { "Older lines" } } }
        }
        (script("iottly logs", ("GET", &format!("/logs?level={level}&search={}", text::escaped(search)), None)))
    };
    let screen = Screen {
        section: Section::Logs,
        title: "Logs",
        crumbs: &[],
        events: None,
        scripts: &[],
        content,
    };
    Ok((status, screen.respond(visitor).await?).into_response())
}

fn row(line: &DeviceLogDto, base: &str) -> Markup {
    use super::kit::stream::{level_name, level_tone};
    let at = line.line.devicetimestamp.at();
    html! {
        li data-level=(level_name(line.line.level)) {
            time datetime=(text::iso(at)) title=(text::iso(at)) { (text::clock(at)) }
            a.break href={ (base) "/devices/" (line.device) "/logs" } { (line.name) }
            div.body { span.tag data-tone=[level_tone(line.line.level)] { (level_name(line.line.level)) } span.break { (line.line.text) } }
        }
    }
}
