//! Message definitions: the list, and a form for one.

use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use iottly_core::model::{Definition, DefinitionOption, Direction, OptionKind, Scopes};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::forms::Fields;
use super::kit::csv::csv_link;
use super::kit::empty::{empty, part, shown};
use super::kit::icons::{Icon, icon};
use super::kit::notice::{Tone, notice};
use super::kit::script::{script, script_for};
use super::layout::failure;
use super::shell::{Screen, Section};
use super::text;
use super::visitor::Visitor;
use crate::api::body::JsonObject;
use crate::api::definitions as rest;
use crate::error::ApiError;

/// Number of empty rows for further options in a form.
const EMPTY_ROWS: usize = 3;
/// Maximum number of rows of options in a form.
const MAX_ROWS: usize = 64;

pub(super) async fn list(visitor: Visitor) -> Response {
    list_page(&visitor).await.unwrap_or_else(|error| failure(&error))
}

async fn list_page(visitor: &Visitor) -> Result<Response, ApiError> {
    let definitions = part(visitor.project.definitions().await)?;
    let count = definitions.as_ref().ok().map(Vec::len);
    let own = format!("{}/definitions", visitor.base());
    let may = visitor.may(Scopes::WRITE);
    let content = html! {
        div.head {
            div { h1 { "Definitions " @if let Some(count) = count { span.count { (count) } } }
                p.lede { "A definition names a command or an event and its options. Forms and checks of commands are made of it." } }
            div.actions { (csv_link(&format!("{}/csv/definitions", visitor.base()), "definitions.csv")) @if may { a.button data-kind="main" href={ (own) "/new" } { (icon(Icon::Add)) "Define a message" } } }
        }
        section.card data-flush {
            (shown(&definitions, "The definitions could not be read", |definitions| html! { @if definitions.is_empty() {
                (empty("No definitions yet", "Define a command such as echo, with its options, and send it from a device's page.", &html! {
                    @if may { a.button href={ (own) "/new" } { "Define a message" } } @else { p { "A person with the right to write can add one." } }
                }))
            } @else {
                table.table data-rows="link" {
                    caption.sr { "Definitions, sorted by type" }
                    thead { tr { th { "Type" } th { "Direction" } th.p2 { "Description" } th { "Format" } } }
                    tbody { @for definition in definitions { tr {
                        td { a.row-link href={ (own) "/" (text::escaped(&definition.cmd_type)) } { (definition.cmd_type) } }
                        td { span.tag { (direction(definition.direction)) } }
                        td.p2.break { (definition.description) }
                        td { code.break { (format(definition)) } }
                    } } }
                }
            } }))
        }
        (script("iottly definition list", ("GET", "/messagedefinitions", None)))
    };
    screen("Definitions", &[], content).respond(visitor).await
}

fn screen<'a>(title: &'a str, crumbs: &'a [(&'a str, String)], content: Markup) -> Screen<'a> {
    Screen {
        section: Section::Definitions,
        title,
        crumbs,
        events: None,
        scripts: &[],
        content,
    }
}

pub(super) fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Command => "command",
        Direction::Event => "event",
    }
}

/// Returns the documented format of a definition's messages as one line.
pub(super) fn format(definition: &Definition) -> String {
    rest::shape(definition)["metadata"]["jsonfmt"].to_string()
}

/// Result to show above the form.
#[derive(Deserialize)]
pub(super) struct Done {
    done: Option<String>,
}

pub(super) async fn new(visitor: Visitor) -> Response {
    let empty = Definition {
        cmd_type: String::new(),
        description: String::new(),
        direction: Direction::Command,
        options: Vec::new(),
    };
    form_page(&visitor, &empty, None, None)
        .await
        .unwrap_or_else(|error| failure(&error))
}

pub(super) async fn show(
    visitor: Visitor,
    Path((_, cmd_type)): Path<(String, String)>,
    Query(done): Query<Done>,
) -> Response {
    let shown = async {
        let store = &visitor.project.services().store;
        let found = store.definition(visitor.project.id(), &cmd_type).await?;
        let found = found.ok_or_else(|| ApiError::missing("project has no such message definition"))?;
        form_page(&visitor, &found, Some(&cmd_type), done.done.map(|_| Ok(()))).await
    };
    shown.await.unwrap_or_else(|error| failure(&error))
}

/// Shows the form; `saved` is the type of a stored definition, `result` that of the last attempt to save it.
async fn form_page(
    visitor: &Visitor,
    definition: &Definition,
    saved: Option<&str>,
    result: Option<Result<(), ApiError>>,
) -> Result<Response, ApiError> {
    let own = format!("{}/definitions", visitor.base());
    let action = saved.map_or(own.clone(), |saved| format!("{own}/{}", text::escaped(saved)));
    let title = saved.unwrap_or("New definition");
    let status = match &result {
        Some(Err(error)) => error.status(),
        Some(Ok(())) | None => StatusCode::OK,
    };
    let content = html! {
        div.head { div { h1 { (title) } } }
        @match &result {
            Some(Ok(())) => (notice(Tone::Good, &html! { "Saved. A command has a handler in every branch now." })),
            Some(Err(error)) => (notice(Tone::Bad, &html! { (error.message()) })),
            None => {},
        }
        form.card.stack method="post" action=(action) {
            div.fields {
                div.field { label for="type" { "Type" }
                    input #type name="type" value=(definition.cmd_type) required maxlength="64" readonly[saved.is_some()] placeholder="set_target";
                }
                div.field { label for="direction" { "Direction" }
                    select #direction name="direction" {
                        @for known in [Direction::Command, Direction::Event] {
                            option value=(direction(known)) selected[definition.direction == known] {
                                (direction(known)) @if known == Direction::Command { ", cloud to device" } @else { ", device to cloud" }
                            }
                        }
                    }
                }
            }
            div.field { label for="description" { "Description" } textarea #description name="description" rows="2" { (definition.description) } }
            table.table data-fold {
                caption.sr { "Options" }
                thead { tr { th { "Option" } th { "Values" } th { "Default, or the choices separated by commas" } th { "Optional" } } }
                tbody { @for row in 0..(definition.options.len() + EMPTY_ROWS).min(MAX_ROWS) { (row_of(row, definition.options.get(row))) } }
            }
            @if visitor.may(Scopes::WRITE) {
                div.actions {
                    button data-kind="main" { "Save" }
                    @if saved.is_some() { button data-kind="danger" name="do" value="delete" formnovalidate { "Delete" } }
                }
            } @else { p.soft { "This login may read only." } }
        }
        @match saved {
            None => (script("iottly definition set definition.json", ("POST", "/messagedefinitions", Some(&example(definition))))),
            Some(saved) => {
                @let path = format!("/messagedefinitions/{}", text::escaped(saved));
                (script_for("show", &format!("iottly definition show {saved}"), ("GET", &path, None)))
                (script_for("change", "iottly definition set definition.json", ("PUT", &path, Some(&example(definition)))))
                (script_for("delete", &format!("iottly definition rm {saved}"), ("DELETE", &path, None)))
            }
        }
    };
    let crumbs = [("Definitions", own)];
    let page = screen(title, &crumbs, content).respond(visitor).await?;
    Ok((status, page).into_response())
}

fn row_of(row: usize, option: Option<&DefinitionOption>) -> Markup {
    let (kind, value) = match option.map(|option| &option.kind) {
        Some(OptionKind::FixedValue { value }) => ("FixedValue", value.clone()),
        Some(OptionKind::MultipleChoice { listvalues }) => ("MultipleChoice", listvalues.join(", ")),
        Some(OptionKind::FreeValue) | None => ("FreeValue", String::new()),
    };
    html! { tr {
        td { input name={ "key" (row) } aria-label={ "Name of option " (row + 1) } value=(option.map_or("", |option| option.key.as_str())) maxlength="64"; }
        td { select name={ "kind" (row) } aria-label={ "Values of option " (row + 1) } {
            @for (known, name) in [("FreeValue", "any value"), ("MultipleChoice", "one of a list"), ("FixedValue", "a default")] {
                option value=(known) selected[known == kind] { (name) }
            }
        } }
        td { input name={ "value" (row) } aria-label={ "Default or choices of option " (row + 1) } value=(value); }
        td { input type="checkbox" name={ "optional" (row) } value="yes" aria-label={ "Option " (row + 1) " is optional" } checked[option.is_some_and(|option| option.optional)]; }
    } }
}

fn example(definition: &Definition) -> String {
    if definition.cmd_type.is_empty() {
        return r#"{"set_target":{"degrees":{"type":"FreeValue"}},"metadata":{"direction":"command"}}"#
            .to_owned();
    }
    rest::shape(definition).to_string()
}

/// Stores the definition of the form as a new one.
pub(super) async fn create(visitor: Visitor, fields: Fields) -> Response {
    saved(&visitor, &fields, None)
        .await
        .unwrap_or_else(|error| failure(&error))
}

/// Changes or deletes a definition.
pub(super) async fn update(
    visitor: Visitor,
    Path((_, cmd_type)): Path<(String, String)>,
    fields: Fields,
) -> Response {
    saved(&visitor, &fields, Some(cmd_type))
        .await
        .unwrap_or_else(|error| failure(&error))
}

async fn saved(visitor: &Visitor, fields: &Fields, known: Option<String>) -> Result<Response, ApiError> {
    let (access, own) = (visitor.project.clone(), format!("{}/definitions", visitor.base()));
    let project = access.id().to_string();
    if let Some(cmd_type) = known.as_ref().filter(|_| fields.get("do") == Some("delete")) {
        rest::delete(access, Path((project, cmd_type.clone()))).await?;
        return Ok(Redirect::to(&own).into_response());
    }
    let body = body(fields);
    let done = match known.clone() {
        None => rest::create(access, JsonObject(body)).await,
        Some(cmd_type) => rest::update(access, Path((project, cmd_type)), JsonObject(body)).await,
    };
    match done {
        Ok(done) => {
            let cmd_type = done.0.messagedefinition["metadata"]["type"]
                .as_str()
                .unwrap_or_default();
            Ok(Redirect::to(&format!("{own}/{}?done=1", text::escaped(cmd_type))).into_response())
        }
        Err(error) if error.status().is_client_error() => {
            form_page(visitor, &typed(fields), known.as_deref(), Some(Err(error))).await
        }
        Err(error) => Err(error),
    }
}

/// Returns the form's fields as the request of the API.
fn body(fields: &Fields) -> Map<String, Value> {
    let typed = typed(fields);
    let mut keys = Map::new();
    for option in &typed.options {
        let mut kind = serde_json::to_value(&option.kind).expect("an option has string keys");
        kind["optional"] = json!(option.optional);
        keys.insert(option.key.clone(), kind);
    }
    let mut body = Map::new();
    let direction = direction(typed.direction);
    body.insert(
        "metadata".to_owned(),
        json!({"description": typed.description, "direction": direction}),
    );
    body.insert(typed.cmd_type, Value::Object(keys));
    body
}

/// Returns the form's fields as they were typed, unchecked.
fn typed(fields: &Fields) -> Definition {
    let field = |name: String| fields.get(&name).unwrap_or_default().trim().to_owned();
    let options = (0..MAX_ROWS).filter_map(|row| {
        let key = field(format!("key{row}"));
        let value = field(format!("value{row}"));
        let kind = match field(format!("kind{row}")).as_str() {
            "FixedValue" => OptionKind::FixedValue { value },
            "MultipleChoice" => OptionKind::MultipleChoice {
                listvalues: value.split(',').map(|choice| choice.trim().to_owned()).collect(),
            },
            _ => OptionKind::FreeValue,
        };
        let optional = fields.get(&format!("optional{row}")).is_some();
        (!key.is_empty()).then_some(DefinitionOption { key, kind, optional })
    });
    Definition {
        cmd_type: field("type".to_owned()),
        description: field("description".to_owned()),
        direction: if field("direction".to_owned()) == "event" {
            Direction::Event
        } else {
            Direction::Command
        },
        options: options.collect(),
    }
}
