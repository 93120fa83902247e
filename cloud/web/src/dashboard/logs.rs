//! The log lines of all devices of a project, with a search.

use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::kit::csv::csv_link;
use super::kit::empty::{broken, empty, part};
use super::kit::icons::{Icon, icon};
use super::kit::script::{script, word};
use super::layout::failure;
use super::shell::{Screen, Section};
use super::text;
use super::visitor::Visitor;
use crate::api::dto::DeviceLogDto;
use crate::api::logs::{log_place, log_query, project_logs, written};
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
    /// Place before which the lines are.
    before: Option<String>,
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
    let before = asked.before.as_deref().and_then(log_place);
    let (found, problem) = match log_query(Some(level), Some(search), (None, before), LINES) {
        Ok(query) => (part(project_logs(&visitor.project, &query).await)?, None),
        Err(error) => (Ok((Vec::new(), None)), Some(error)),
    };
    let next = found.as_ref().ok().and_then(|(_, next)| *next);
    let read = found.map(|(lines, _)| lines);
    let lines = read.as_deref().unwrap_or_default();
    let status = problem.as_ref().map_or(StatusCode::OK, ApiError::status);
    let with = |level: &str| format!("{own}?level={level}&search={}", text::escaped(search));
    // Without a search or a level each examined line is shown.
    let selects = !search.is_empty() || !level.is_empty();
    let older = next.map(|next| format!("{}&before={}", with(level), written(next)));
    let content = html! {
        div.head {
            div { h1 { "Logs" } p.lede { "What the firmware of all devices logged, in the order in which the cloud received it." } }
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
                None => @if read.is_ok() { span { b { (lines.len()) " lines" } @if selects && lines.len() < LINES { @if older.is_some() { " of the " @if before.is_some() { "next " } @else { "newest " } "50,000" } @else { " in all that are stored" @if before.is_some() { " before" } } } } },
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
                    (empty("No line matches", if older.is_some() { "Of the 50,000 lines that were searched, none of this level has the text." } else { "No line of this level has the text." }, &html! { a.button href=(own) { "Show all lines" } }))
                }
            } @else {
                ol.stream data-with="device" { @for line in lines { (row(line, &base)) } }
            }
            div.card-foot { span { "Newest first by arrival, times of the devices' clocks in UTC" } @if let Some(older) = &older { a.button data-size="s" href=(older) { "Older lines" } } }
        }
        (same(level, search))
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

/// Returns the box with the same lines from a script.
fn same(level: &str, search: &str) -> Markup {
    let (mut line, mut path) = ("iottly logs".to_owned(), format!("/logs?numLines={LINES}"));
    if !level.is_empty() {
        line += &format!(" --level {}", word(level));
        path += &format!("&level={}", text::escaped(level));
    }
    if !search.is_empty() {
        line += &format!(" --search {}", word(search));
        path += &format!("&search={}", text::escaped(search));
    }
    script(&format!("{line} --last {LINES}"), ("GET", &path, None))
}

fn row(line: &DeviceLogDto, base: &str) -> Markup {
    use super::kit::stream::{level_name, level_tone};
    let (at, received) = (line.line.devicetimestamp.at(), line.line.timestamp.at());
    let title = format!("{}, received {}", text::iso(at), text::iso(received));
    html! {
        li data-level=(level_name(line.line.level)) {
            time datetime=(text::iso(at)) title=(title) { (text::clock(at)) }
            a.break href={ (base) "/devices/" (line.device) "/logs" } { (line.name) }
            div.body { span.tag data-tone=[level_tone(line.line.level)] { (level_name(line.line.level)) } span.break { (line.line.text) } }
        }
    }
}
