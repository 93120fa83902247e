//! The way in for devices: a line to paste on a board, or the approval of a board that waits.

use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use iottly_cloud::enrolment::ShownBoard;
use iottly_core::model::Scopes;
use maud::{Markup, html};

use super::forms::Fields;
use super::kit::csv::csv_link;
use super::kit::empty::{broken, empty, part};
use super::kit::notice::{Tone, notice};
use super::kit::script::{script, script_for, snippet};
use super::layout::failure;
use super::shell::{Screen, Section};
use super::visitor::Visitor;
use super::{arrival, copies};
use crate::api::body::JsonBody;
use crate::api::device as rest;
use crate::api::dto::NewDeviceBody;
use crate::error::ApiError;

/// Shows both ways to add a device.
pub(super) async fn show(visitor: Visitor) -> Response {
    page(&visitor, None).await.unwrap_or_else(|error| failure(&error))
}

async fn page(visitor: &Visitor, problem: Option<&ApiError>) -> Result<Response, ApiError> {
    let access = &visitor.project;
    let (groups, boards) = (
        access.groups().await?,
        access.services().enrolment.waiting(access.id()),
    );
    let (base, may) = (visitor.base(), visitor.may(Scopes::WRITE));
    let content = html! {
        div.head { div { h1 { "Add devices" } p.lede { "Paste one line on the board, or let the board show a code and approve it here." } } }
        @if let Some(problem) = problem { (notice(Tone::Bad, &html! { (problem.message()) })) }
        @if !may { (notice(Tone::Warn, &html! { "This login may not add devices. An owner of the organisation can grant it." })) }
        div.ways {
            form.card.way method="post" action={ (base) "/devices/add" } {
                h2 { "Install on a board" }
                div.field { label for="name" { "Name" } input #name name="name" required maxlength="128" placeholder="porch" disabled[!may]; }
                div.field { label for="group" { "Group" } select #group name="group" disabled[!may] { @for group in &groups { option value=(group.id) { (group.name) } } } }
                div.actions { button data-kind="main" disabled[!may] { "Get the line" } }
            }
            (approval(&boards, &base))
        }
        section.card.stack { h2 { "No board at hand?" }
            p { "Virtual devices run the same agent on this machine." }
            (snippet("iottly demo"))
        }
        (script("iottly device enroll --name porch", ("POST", "/device", Some(r#"{"name":"porch"}"#))))
        (scripts())
    };
    screen(visitor, "Add devices", content).await
}

async fn screen(visitor: &Visitor, title: &str, content: Markup) -> Result<Response, ApiError> {
    let screen = Screen {
        section: Section::Devices,
        title,
        crumbs: &[("Devices", format!("{}/devices", visitor.base()))],
        events: Some(format!("{}/events?messages=none&quiet=1", visitor.base())),
        scripts: &[],
        content,
    };
    screen.respond(visitor).await
}

fn approval(boards: &[ShownBoard], base: &str) -> Markup {
    html! {
        section.card.way aria-labelledby="approve" {
            h2 #approve { "Approve a board that waits" }
            p.soft { "A board started with " code { "iottly-agent enroll --url" } " shows a code of eight digits and letters." }
            form.actions method="get" action={ (base) "/enroll" } {
                label.sr for="code" { "Code on the board's screen" }
                input #code name="code" placeholder="7K3M-9PQX" autocomplete="off" autocapitalize="characters" spellcheck="false" required;
                button { "Continue" }
            }
            live-part #waiting data-on="waiting" { (waiting_table(boards, base)) }
        }
    }
}

fn waiting_table(boards: &[ShownBoard], base: &str) -> Markup {
    html! {
        @if !boards.is_empty() {
            table.table data-fold {
                thead { tr { th { "Code" } th { "Board" } th.p2 { "Asks from" } th { span.sr { "Action" } } } }
                tbody { @for shown in boards { @let board = shown.request.board(); tr {
                    td { b.mono { (shown.code) } }
                    td { span.break { (board.name.as_deref().unwrap_or("without a name")) } span.sub.break { (board.profile) " · " (board.mac.as_deref().unwrap_or("no MAC address")) } }
                    td.p2 { code { (shown.from) } }
                    td { span.actions { a.button data-size="s" href={ (base) "/enroll?code=" (shown.code) } { "Compare…" } } }
                } } }
            }
        }
    }
}

/// Returns the boxes with the choice about a board that waits.
fn scripts() -> Markup {
    html! {
        (script_for("approve a board", "iottly device approve CODE", ("POST", "/waiting/$CODE", Some("{}"))))
        (script_for("reject a board", "iottly device reject CODE", ("DELETE", "/waiting/$CODE", None)))
    }
}

/// Lists the boards that wait for approval, and copies of devices that wait for a choice.
pub(super) async fn waiting(visitor: Visitor) -> Response {
    let shown = async {
        let access = &visitor.project;
        let boards = access.services().enrolment.waiting(access.id());
        let (copies, base) = (part(copies::of(access).await)?, visitor.base());
        let content = html! {
            div.head { div { h1 { "Waiting" } p.lede { "Boards that ask to become devices, and boards that log in as one device." } } }
            live-part #waiting data-on="waiting device" data-least="5" {
                @if boards.is_empty() && copies.as_ref().is_ok_and(Vec::is_empty) {
                    section.card data-flush { (empty("No board waits", "A board that was started with an enrolment key, or with a code, appears here.", &html! {
                        a.button href={ (base) "/devices/add" } { "Add devices" }
                    })) }
                }
                @if !boards.is_empty() { section.card data-flush aria-labelledby="boards" {
                    div.card-head { h2 #boards { "Boards" } (csv_link(&format!("{base}/csv/waiting"), "waiting.csv")) }
                    (waiting_table(&boards, &base))
                } }
                @match &copies {
                    Ok(copies) => (copies::panel(copies, &visitor)),
                    Err(error) => section.card data-flush { (broken("The boards that log in as one device could not be read", error.message())) },
                }
            }
            (script("iottly device waiting", ("GET", "/waiting", None)))
            (scripts())
        };
        screen(&visitor, "Waiting", content).await
    };
    shown.await.unwrap_or_else(|error| failure(&error))
}

/// Creates the device of the form and shows the line for its board.
pub(super) async fn create(visitor: Visitor, headers: HeaderMap, fields: Fields) -> Response {
    let made = async {
        let group = fields.get("group").map(str::parse).transpose();
        let body = NewDeviceBody {
            name: fields.get("name").unwrap_or_default().trim().to_owned(),
            deployment_group: group.map_err(|_| ApiError::invalid("invalid_form", "group is not an id"))?,
        };
        match rest::create(visitor.project.clone(), headers, JsonBody(body)).await {
            Ok(made) => Ok(arrival::with_line(&visitor, &made.0)),
            Err(error) if error.status().is_client_error() => {
                let status = error.status();
                Ok((status, page(&visitor, Some(&error)).await?).into_response())
            }
            Err(error) => Err(error),
        }
    };
    made.await.unwrap_or_else(|error| failure(&error))
}
