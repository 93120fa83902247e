//! The tab with a form for each command of the project, and the commands sent to the device.

use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use iottly_cloud::clock;
use iottly_cloud::command::{CommandRequest, SubmitError};
use iottly_core::command::{DEFAULT_TTL_MS, MAX_TTL_MS};
use iottly_core::model::{
    CommandRecord, CommandStatus, Definition, DefinitionOption, Direction, OptionKind, Scopes, UnixMs,
};
use iottly_protocol::CommandId;
use iottly_store::CommandQuery;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::forms::Fields;
use super::super::kit::csv::csv_link;
use super::super::kit::empty::{empty, shown};
use super::super::kit::notice::{Tone, notice};
use super::super::kit::script::script;
use super::super::layout::failure;
use super::super::text;
use super::super::visitor::Visitor;
use super::Tab;
use crate::auth::DeviceAccess;
use crate::error::ApiError;

/// Number of commands that the page lists; the API has the older ones.
const COMMANDS: usize = 20;

/// Name of the field with the time in which the device has to take a command; names of options have a dot.
const TTL: &str = "ttl_s";

/// Query of the page: the command that was sent from it, or the time of the newest command to list.
#[derive(Deserialize)]
pub(in super::super) struct Notice {
    sent: Option<String>,
    until: Option<UnixMs>,
}

pub(in super::super) async fn show(
    visitor: Visitor,
    Path((_, id)): Path<(String, String)>,
    Query(notice): Query<Notice>,
) -> Response {
    let shown = async {
        let access = visitor.device(&id).await?;
        let sent = notice.sent.filter(|id| id.parse::<CommandId>().is_ok());
        page(&visitor, &access, (sent.as_deref(), notice.until), None).await
    };
    shown.await.unwrap_or_else(|error| failure(&error))
}

/// Sends the command of the form.
pub(in super::super) async fn send(
    visitor: Visitor,
    Path((_, id)): Path<(String, String)>,
    fields: Fields,
) -> Response {
    submit(&visitor, &id, fields)
        .await
        .unwrap_or_else(|error| failure(&error))
}

async fn submit(visitor: &Visitor, id: &str, fields: Fields) -> Result<Response, ApiError> {
    let access = visitor.device(id).await?;
    let cmd_type = fields.get("cmd_type").unwrap_or_default().to_owned();
    let seconds = fields.get(TTL).map(str::trim).filter(|text| !text.is_empty());
    // What is no number is refused as a lifetime of 0.
    let ttl_ms = seconds.map(|text| {
        text.parse::<i64>()
            .map_or(0, |seconds| seconds.saturating_mul(1000))
    });
    let options = fields
        .0
        .into_iter()
        .filter(|(key, _)| key != "cmd_type" && key != TTL);
    let values: Map<String, Value> = options.map(|(key, value)| (key, Value::String(value))).collect();
    let request = CommandRequest {
        cmd_type,
        values,
        ttl_ms,
    };
    let (services, device) = (access.services(), access.scope().device);
    let received = services.time.received();
    match services.commands.submit(access.scope(), &request, received).await {
        Ok(record) => {
            let own = format!("{}/devices/{device}/commands?sent={}", visitor.base(), record.id);
            Ok(Redirect::to(&own).into_response())
        }
        Err(SubmitError::Store(error)) => Err(error.into()),
        Err(error) => {
            let page = page(visitor, &access, (None, None), Some(&error.to_string())).await?;
            Ok((StatusCode::BAD_REQUEST, page).into_response())
        }
    }
}

/// Cancels a command that has not ended.
pub(in super::super) async fn cancel(
    visitor: Visitor,
    Path((_, id, command)): Path<(String, String, String)>,
) -> Response {
    let cancelled = async {
        let access = visitor.device(&id).await?;
        let unknown = || ApiError::missing("device has no such command");
        let command: CommandId = command.parse().map_err(|_| unknown())?;
        let commands = &access.services().commands;
        let record = commands.cancel(access.scope(), command, clock::now()).await?;
        let record = record.ok_or_else(unknown)?;
        let own = format!("{}/devices/{}/commands", visitor.base(), access.scope().device);
        Ok(Redirect::to(&format!("{own}#c-{}", record.id)).into_response())
    };
    cancelled.await.unwrap_or_else(|error: ApiError| failure(&error))
}

async fn page(
    visitor: &Visitor,
    access: &DeviceAccess,
    (sent, until): (Option<&str>, Option<UnixMs>),
    problem: Option<&str>,
) -> Result<Response, ApiError> {
    let definitions = access.project().definitions().await?;
    let query = CommandQuery {
        before: until.map(|until| (until.saturating_add(1), CommandId::from_bytes([0; 16]))),
        limit: COMMANDS,
        ..CommandQuery::default()
    };
    let records = access.services().store.commands(access.scope(), &query).await;
    let records = records.map_err(ApiError::from);
    let id = access.scope().device;
    let own = format!("{}/devices/{id}", visitor.base());
    let commands: Vec<_> = definitions
        .iter()
        .filter(|definition| definition.direction == Direction::Command)
        .collect();
    let may = visitor.may(Scopes::COMMAND);
    let content = html! {
        @if let Some(sent) = sent { (notice(Tone::Good, &html! { "Accepted as command " code { (sent) } "." })) }
        @if let Some(problem) = problem { (notice(Tone::Bad, &html! { (problem) })) }
        div.split data-even {
            section.card.stack aria-labelledby="send" {
                h2 #send { "Send a command" }
                @if !may {
                    p.soft { "This login may read only. A person with the right to send commands can grant it." }
                } @else if commands.is_empty() {
                    (empty("The project defines no commands", "A definition names a command and its options; the form here is made of it.",
                        &html! { a.button href={ (visitor.base()) "/definitions" } { "Define a command" } }))
                } @else {
                    @for (index, definition) in commands.iter().enumerate() { (form(definition, &own, index == 0)) }
                }
            }
            section.card data-flush aria-labelledby="sent" {
                div.card-head { h2 #sent { @match until { Some(until) => { "Sent until " (text::minute(until)) }, None => "Sent lately" } } (csv_link(&format!("{}/csv/commands?device={id}", visitor.base()), "commands.csv")) span.soft.small { "Newest first, times in UTC" @if until.is_some() { ", " a href={ (own) "/commands" } { "newest" } } } }
                (shown(&records, "The commands could not be read", |records| html! { @if records.is_empty() { (empty("No commands yet", "Each command is listed here with its way to the device and back.", &html! {})) }
                @else { live-part #commands-sent data-on="command" { ol.stream { @for record in records { (row(record, &own, may)) } } } } }))
            }
        }
        @if let Some(definition) = commands.first() { (box_of(definition, &id.to_string())) }
    };
    let tab = Tab {
        path: "/commands",
        events: None,
        scripts: &[],
        content,
    };
    tab.respond(visitor, access).await
}

/// Returns the box with a command from a script; each value that is required has an example.
fn box_of(definition: &Definition, id: &str) -> Markup {
    let name = &definition.cmd_type;
    let (mut line, mut values) = (format!("iottly cmd {id} {name}"), serde_json::Map::new());
    for option in &definition.options {
        let example = match &option.kind {
            OptionKind::FreeValue if !option.optional => "hi",
            OptionKind::MultipleChoice { listvalues } if !option.optional => {
                listvalues.first().map_or("", String::as_str)
            }
            _ => continue,
        };
        line += &format!(" {}='{}'", option.key, example.replace('\'', "'\\''"));
        values.insert(format!("{name}.{}", option.key), example.into());
    }
    let body = serde_json::json!({"cmd_type": name, "values": values}).to_string();
    script(
        &format!("{line} --wait 5s"),
        ("POST", &format!("/device/{id}/command"), Some(&body)),
    )
}

fn form(definition: &Definition, own: &str, open: bool) -> Markup {
    html! {
        details open[open] {
            summary { b { (definition.cmd_type) } }
            form.stack method="post" action={ (own) "/command" } {
                @if !definition.description.is_empty() { p.soft.break { (definition.description) } }
                input type="hidden" name="cmd_type" value=(definition.cmd_type);
                @for option in &definition.options { (field(&definition.cmd_type, option)) }
                (lifetime(&definition.cmd_type))
                div.actions { button data-kind=[open.then_some("main")] { "Send " (definition.cmd_type) } }
            }
        }
    }
}

fn field(cmd_type: &str, option: &DefinitionOption) -> Markup {
    let name = format!("{cmd_type}.{}", option.key);
    html! {
        div.field {
            label for=(name) { (option.key) @if option.optional { span.hint { " optional" } } }
            @match &option.kind {
                OptionKind::FixedValue { value } => { input id=(name) name=(name) placeholder=(value); }
                OptionKind::MultipleChoice { listvalues } => {
                    select id=(name) name=(name) { @if option.optional { option value="" {} } @for value in listvalues { option { (value) } } }
                }
                OptionKind::FreeValue => { input id=(name) name=(name) required[!option.optional]; }
            }
        }
    }
}

/// Returns the field for the time in which the device has to take the command.
fn lifetime(cmd_type: &str) -> Markup {
    let id = format!("ttl-{cmd_type}");
    html! {
        div.field {
            label for=(id) { "Valid for, in seconds" span.hint { " optional" } }
            input id=(id) name=(TTL) type="number" min="1" max=(MAX_TTL_MS / 1000) placeholder=(DEFAULT_TTL_MS / 1000);
        }
    }
}

fn row(record: &CommandRecord, own: &str, may: bool) -> Markup {
    let tone = match record.status {
        CommandStatus::Answered => "good",
        CommandStatus::Failed | CommandStatus::Expired | CommandStatus::Interrupted => "bad",
        CommandStatus::Queued | CommandStatus::Sent | CommandStatus::Delivered => "busy",
        CommandStatus::Cancelled => "idle",
    };
    let steps = [("sent", record.sent), ("delivered", record.delivered)];
    html! {
        li id={ "c-" (record.id) } data-status=(record.status.as_str()) {
            time datetime=(text::iso(record.created)) { (text::clock(record.created)) }
            div.body {
                b.break { (record.cmd_type) }
                span.tag data-tone=(tone) { (record.status.as_str()) @if record.cancelling { ", cancelling" } }
                @for (word, at) in steps { @if let Some(at) = at { span.soft.small { (word) " after " ((at - record.created).max(0)) " ms" } } }
                @if record.status.is_final() { span.soft.small { (record.status.as_str()) " after " ((record.changed - record.created).max(0)) " ms" } }
                @if let Some(detail) = &record.detail { code.break { (text::payload(detail)) } }
                code.small { (record.id) }
                @if may && !record.status.is_final() && !record.cancelling {
                    form method="post" action={ (own) "/commands/" (record.id) "/cancel" } { button data-size="s" { "Cancel" } }
                }
            }
        }
    }
}
