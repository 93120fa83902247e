//! The tab with a form for each command of the project, and the commands sent to the device.

use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use iottly_cloud::clock;
use iottly_cloud::command::{CommandRequest, SubmitError};
use iottly_core::command::{DEFAULT_TTL_MS, MAX_TTL_MS};
use iottly_core::model::{
    CommandRecord, CommandStatus, Definition, DefinitionOption, Direction, OptionKind, Scopes, UnixMs,
    ValueType,
};
use iottly_protocol::CommandId;
use iottly_store::CommandQuery;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::definitions::plain;
use super::super::forms::Fields;
use super::super::kit::csv::csv_link;
use super::super::kit::empty::{empty, shown};
use super::super::kit::notice::{Tone, notice};
use super::super::kit::script::{script, word};
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

/// Command that was refused, as it was typed.
struct Refused<'a> {
    fields: &'a Fields,
    why: String,
    /// Name of the field that the refusal is about.
    field: Option<String>,
}

impl Refused<'_> {
    fn is_of(&self, definition: &Definition) -> bool {
        self.fields.get("cmd_type") == Some(definition.cmd_type.as_str())
    }
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
    let definitions = access.project().definitions().await?;
    let definition = definitions
        .iter()
        .find(|definition| definition.cmd_type == cmd_type);
    let options = fields.0.iter().filter(|(key, _)| key != "cmd_type" && key != TTL);
    let values: Map<String, Value> = options
        .map(|(key, text)| (key.clone(), value_of(definition, key, text)))
        .collect();
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
            let field = match &error {
                SubmitError::Invalid(invalid) => invalid.key().map(str::to_owned),
                SubmitError::Ttl => Some(TTL.to_owned()),
                _ => None,
            };
            let refused = Refused {
                fields: &fields,
                why: error.to_string(),
                field,
            };
            let page = page(visitor, &access, (None, None), Some(&refused)).await?;
            Ok((StatusCode::BAD_REQUEST, page).into_response())
        }
    }
}

/// Returns the value of a field: of the type of its option, text without one.
fn value_of(definition: Option<&Definition>, key: &str, text: &str) -> Value {
    let option = definition.and_then(|definition| {
        let name = key.strip_prefix(&definition.cmd_type)?.strip_prefix('.')?;
        definition.options.iter().find(|option| option.key == name)
    });
    option.map_or_else(
        || Value::String(text.to_owned()),
        |option| option.facts.value_of(text),
    )
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
    refused: Option<&Refused<'_>>,
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
        @if let Some(refused) = refused { (notice(Tone::Bad, &html! { "Not sent. " (refused.why) })) }
        div.split data-even {
            section.card.stack aria-labelledby="send" {
                h2 #send { "Send a command" }
                @if !may {
                    p.soft { "This login may read only. A person with the right to send commands can grant it." }
                } @else if commands.is_empty() {
                    (empty("The project defines no commands", "A definition names a command and its options; the form here is made of it.",
                        &html! { a.button href={ (visitor.base()) "/definitions" } { "Define a command" } }))
                } @else {
                    @let tried = refused.filter(|refused| commands.iter().any(|definition| refused.is_of(definition)));
                    @for (index, definition) in commands.iter().enumerate() {
                        @let own_try = tried.filter(|tried| tried.is_of(definition));
                        (form(definition, &own, if tried.is_some() { own_try.is_some() } else { index == 0 }, own_try))
                    }
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
            OptionKind::FreeValue if !option.optional => example(option),
            OptionKind::MultipleChoice { listvalues } if !option.optional => {
                listvalues.first().map_or("", String::as_str).into()
            }
            _ => continue,
        };
        line += &format!(" {}={}", option.key, word(&plain(&example)));
        values.insert(format!("{name}.{}", option.key), example);
    }
    let body = serde_json::json!({"cmd_type": name, "values": values}).to_string();
    script(
        &format!("{line} --wait 5s"),
        ("POST", &format!("/device/{id}/command"), Some(&body)),
    )
}

/// Returns a value that the option accepts.
fn example(option: &DefinitionOption) -> Value {
    let facts = &option.facts;
    let known = facts.default.clone();
    let bound = facts.minimum.clone().or_else(|| facts.maximum.clone());
    known
        .or_else(|| bound.map(Value::Number))
        .unwrap_or_else(|| match facts.value_type {
            Some(ValueType::Integer | ValueType::Number) => 1.into(),
            Some(ValueType::Boolean) => true.into(),
            Some(ValueType::Text) | None => "hi".into(),
        })
}

fn form(definition: &Definition, own: &str, open: bool, refused: Option<&Refused<'_>>) -> Markup {
    html! {
        details open[open] {
            summary { b { (definition.cmd_type) } }
            form.stack method="post" action={ (own) "/command" } {
                @if !definition.description.is_empty() { p.soft.break { (definition.description) } }
                input type="hidden" name="cmd_type" value=(definition.cmd_type);
                @for option in &definition.options { (field(&definition.cmd_type, option, refused)) }
                (lifetime(&definition.cmd_type, refused))
                div.actions { button data-kind=[open.then_some("main")] { "Send " (definition.cmd_type) } }
            }
        }
    }
}

/// Field of the form: its name, its text, and the reason for which that was refused.
struct Field<'a> {
    name: String,
    text: String,
    problem: Option<&'a str>,
}

impl<'a> Field<'a> {
    fn new(name: String, default: Option<String>, refused: Option<&'a Refused<'a>>) -> Self {
        let typed = refused.and_then(|refused| refused.fields.get(&name).map(str::to_owned));
        let problem = refused.filter(|refused| refused.field.as_deref() == Some(&name));
        Self {
            text: typed.or(default).unwrap_or_default(),
            problem: problem.map(|refused| refused.why.as_str()),
            name,
        }
    }

    fn note(&self, id: &str) -> Option<String> {
        self.problem.map(|_| format!("{id}-problem"))
    }

    fn shown_problem(&self, id: &str) -> Markup {
        html! { @if let Some(problem) = self.problem { p.problem id={ (id) "-problem" } { (problem) } } }
    }
}

fn field(cmd_type: &str, option: &DefinitionOption, refused: Option<&Refused<'_>>) -> Markup {
    let default = match &option.kind {
        OptionKind::FreeValue => option.facts.default.as_ref().map(plain),
        OptionKind::FixedValue { .. } | OptionKind::MultipleChoice { .. } => None,
    };
    let field = Field::new(format!("{cmd_type}.{}", option.key), default, refused);
    let name = &field.name;
    let label = html! { (option.key) @if option.optional { span.hint { " optional" } } @if let Some(range) = option.facts.range() { span.hint { " " (range) } } };
    if option.facts.value_type == Some(ValueType::Boolean) {
        return html! {
            fieldset.field aria-describedby=[field.note(name)] {
                legend { (label) }
                (truths(option, &field))
                (field.shown_problem(name))
            }
        };
    }
    html! {
        div.field {
            label for=(name) { (label) }
            @if let Some(unit) = &option.facts.unit { div.unit { (control(option, &field)) span { (unit) } } } @else { (control(option, &field)) }
            (field.shown_problem(name))
        }
    }
}

fn control(option: &DefinitionOption, field: &Field<'_>) -> Markup {
    let (name, facts) = (&field.name, &option.facts);
    let (invalid, note) = (field.problem.map(|_| "true"), field.note(name));
    if let OptionKind::MultipleChoice { listvalues } = &option.kind {
        return html! {
            select id=(name) name=(name) aria-invalid=[invalid] aria-describedby=[note] {
                @if option.optional { option value="" {} }
                @for value in listvalues { option selected[*value == field.text] { (value) } }
            }
        };
    }
    let (placeholder, needed) = match &option.kind {
        OptionKind::FixedValue { value } => (Some(value), false),
        _ => (None, !option.optional && facts.default.is_none()),
    };
    let step = match facts.value_type {
        Some(ValueType::Integer) => Some("1"),
        Some(ValueType::Number) => Some("any"),
        _ => None,
    };
    html! {
        input id=(name) name=(name) type=[step.map(|_| "number")] step=[step] min=[facts.minimum.as_ref()] max=[facts.maximum.as_ref()]
            value=(field.text) placeholder=[placeholder] required[needed] aria-invalid=[invalid] aria-describedby=[note];
    }
}

/// Returns the choice between true and false, and that of leaving the option out if it may be.
fn truths(option: &DefinitionOption, field: &Field<'_>) -> Markup {
    let chosen = match &option.kind {
        OptionKind::FixedValue { value } if field.text.is_empty() && !option.optional => value,
        _ => &field.text,
    };
    let needed = !option.optional;
    html! {
        @for (value, words) in [("true", "true"), ("false", "false")] {
            label.choice { input type="radio" name=(field.name) value=(value) checked[chosen == value] required[needed]; (words) }
        }
        @if option.optional { label.choice { input type="radio" name=(field.name) value="" checked[chosen.is_empty()]; "leave out" } }
    }
}

/// Returns the field for the time in which the device has to take the command.
fn lifetime(cmd_type: &str, refused: Option<&Refused<'_>>) -> Markup {
    let id = format!("ttl-{cmd_type}");
    let field = Field::new(TTL.to_owned(), None, refused);
    html! {
        div.field {
            label for=(id) { "Valid for, in seconds" span.hint { " optional" } }
            input id=(id) name=(TTL) type="number" min="1" max=(MAX_TTL_MS / 1000) placeholder=(DEFAULT_TTL_MS / 1000)
                value=(field.text) aria-invalid=[field.problem.map(|_| "true")] aria-describedby=[field.note(&id)];
            (field.shown_problem(&id))
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
