//! Message definitions: the list, and a form for one.

use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use iottly_core::model::{
    Definition, DefinitionOption, Direction, MAX_SAMPLE_BYTES, MAX_UNIT_BYTES, OptionFacts, OptionKind,
    Scopes, ValueType,
};
use iottly_protocol::limits::clip;
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
/// Maximum length of a default in the list, in bytes.
const MAX_DEFAULT_SHOWN: usize = 64;
/// Maximum number of rows of options in a form.
const MAX_ROWS: usize = 64;

pub(super) async fn list(visitor: Visitor) -> Response {
    list_page(&visitor, None)
        .await
        .unwrap_or_else(|error| failure(&error))
}

/// Sample as it was typed, with the reason for which nothing was proposed.
struct RefusedSample<'a> {
    cmd_type: &'a str,
    text: &'a str,
    why: &'a ApiError,
}

async fn list_page(visitor: &Visitor, refused: Option<&RefusedSample<'_>>) -> Result<Response, ApiError> {
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
                        td { code.break { (format(definition)) } @for facts in definition.options.iter().filter_map(facts) { span.sub.break { (facts) } } }
                    } } }
                }
            } }))
        }
        @if may { (sample_form(&own, refused)) }
        (script("iottly definition list", ("GET", "/messagedefinitions", None)))
        (script_for("propose one from a sample", r#"echo '{"temperature":21.5}' | iottly definition from-sample reading -"#,
            ("POST", "/messagedefinition/from-sample", Some(r#"{"type":"reading","sample":{"temperature":21.5}}"#))))
    };
    let page = screen("Definitions", &[], content).respond(visitor).await?;
    let status = refused.map_or(StatusCode::OK, |refused| refused.why.status());
    Ok((status, page).into_response())
}

/// Returns the form that proposes the definition of an event from a sample message.
fn sample_form(own: &str, refused: Option<&RefusedSample<'_>>) -> Markup {
    html! {
        details.card #from-sample open[refused.is_some()] {
            summary { b { "Define an event from a sample message" } }
            form.stack method="post" action={ (own) "/new" } {
                p.soft { "Each value of the sample becomes an option with its type. You edit the proposal, add units and ranges, and save it." }
                div.field { label for="sample-type" { "Type" span.hint { " optional" } }
                    input #sample-type name="type" maxlength="64" placeholder="reading" value=(refused.map_or("", |refused| refused.cmd_type));
                }
                div.field { label for="sample" { "Sample, as JSON" }
                    textarea #sample name="sample" rows="6" required maxlength=(MAX_SAMPLE_BYTES) spellcheck="false" placeholder=r#"{"temperature": 21.5, "door": {"open": true}}"#
                        aria-invalid=[refused.map(|_| "true")] aria-describedby=[refused.map(|_| "sample-problem")] { "\n" (refused.map_or("", |refused| refused.text)) }
                    @if let Some(refused) = refused { p.problem #sample-problem role="alert" { (refused.why.message()) } }
                }
                div.actions { button { "Propose a definition" } }
            }
        }
    }
}

/// Shows the form for a new definition, filled in from a sample. Nothing is stored.
pub(super) async fn from_sample(visitor: Visitor, fields: Fields) -> Response {
    let (cmd_type, text) = (
        fields.get("type").unwrap_or_default(),
        fields.get("sample").unwrap_or_default(),
    );
    let shown = async {
        visitor.project.require(Scopes::WRITE)?;
        match rest::proposed(Some(cmd_type), text) {
            Ok((definition, left_out)) => {
                form_page(
                    &visitor,
                    &Form::of(&definition),
                    None,
                    Some(Outcome::Proposed(left_out)),
                )
                .await
            }
            Err(why) => {
                let refused = RefusedSample {
                    cmd_type,
                    text,
                    why: &why,
                };
                list_page(&visitor, Some(&refused)).await
            }
        }
    };
    shown.await.unwrap_or_else(|error| failure(&error))
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

/// Returns the facts about an option in words, such as `target: number, °C, 5 to 60`; none without any.
fn facts(option: &DefinitionOption) -> Option<String> {
    let facts = &option.facts;
    let words = [
        facts.value_type.map(|kind| kind.as_str().to_owned()),
        facts.unit.clone(),
        facts.range(),
        facts
            .default
            .as_ref()
            .map(|default| format!("default {}", clip(&plain(default), MAX_DEFAULT_SHOWN))),
    ];
    let words: Vec<_> = words.into_iter().flatten().collect();
    (!words.is_empty()).then(|| format!("{}: {}", option.key, words.join(", ")))
}

/// Result to show above the form.
#[derive(Deserialize)]
pub(super) struct Done {
    done: Option<String>,
}

pub(super) async fn new(visitor: Visitor) -> Response {
    form_page(&visitor, &Form::default(), None, None)
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
        let saved = done.done.map(|_| Outcome::Saved);
        form_page(&visitor, &Form::of(&found), Some(&cmd_type), saved).await
    };
    shown.await.unwrap_or_else(|error| failure(&error))
}

/// Outcome of the last request, shown above the form.
enum Outcome {
    Saved,
    Refused(ApiError),
    /// Proposed from a sample, with the number of values that were left out.
    Proposed(usize),
}

/// Shows the form; `saved` is the type of a stored definition.
async fn form_page(
    visitor: &Visitor,
    filled: &Form,
    saved: Option<&str>,
    outcome: Option<Outcome>,
) -> Result<Response, ApiError> {
    let own = format!("{}/definitions", visitor.base());
    let action = saved.map_or(own.clone(), |saved| format!("{own}/{}", text::escaped(saved)));
    let title = saved.unwrap_or("New definition");
    let status = match &outcome {
        Some(Outcome::Refused(error)) => error.status(),
        _ => StatusCode::OK,
    };
    let example = filled.example();
    let content = html! {
        div.head { div { h1 { (title) } } }
        @match &outcome {
            Some(Outcome::Saved) => (notice(Tone::Good, &html! { "Saved. A command has a handler in every branch now." })),
            Some(Outcome::Refused(error)) => (notice(Tone::Bad, &html! { (error.message()) })),
            Some(Outcome::Proposed(0)) => (notice(Tone::Good, &html! { "Proposed from the sample, not saved yet. Its author knows the units and ranges." })),
            Some(Outcome::Proposed(left)) => (notice(Tone::Good, &html! { "Proposed from the sample, not saved yet. " (text::counted(*left, "value")) " had no room and was left out." })),
            None => {},
        }
        form.card.stack method="post" action=(action) {
            div.fields {
                div.field { label for="type" { "Type" }
                    input #type name="type" value=(filled.cmd_type) required maxlength="64" readonly[saved.is_some()] placeholder="set_target";
                }
                div.field { label for="direction" { "Direction" }
                    select #direction name="direction" {
                        @for known in [Direction::Command, Direction::Event] {
                            option value=(direction(known)) selected[filled.is_event == (known == Direction::Event)] {
                                (direction(known)) @if known == Direction::Command { ", cloud to device" } @else { ", device to cloud" }
                            }
                        }
                    }
                }
            }
            div.field { label for="description" { "Description" } textarea #description name="description" rows="2" { (filled.description) } }
            table.table.options data-fold {
                caption.sr { "Options" }
                thead { tr { th { "Option" } th { "Values" } th { "Default or choices" } th { "Type" } th { "Unit" } th { "Minimum" } th { "Maximum" } th { "Optional" } } }
                tbody { @for row in 0..(filled.rows.len() + EMPTY_ROWS).min(MAX_ROWS) { (row_of(row, filled.rows.get(row).unwrap_or(&Row::default()))) } }
            }
            p.soft.small { "Choices are separated by commas. Type, unit, minimum and maximum may stay empty; commands with other values are refused. A value with a type reaches the device from forms in that type." }
            @if visitor.may(Scopes::WRITE) {
                div.actions {
                    button data-kind="main" { "Save" }
                    @if saved.is_some() { button data-kind="danger" name="do" value="delete" formnovalidate { "Delete" } }
                }
            } @else { p.soft { "This login may read only." } }
        }
        @match saved {
            None => (script("iottly definition set definition.json", ("POST", "/messagedefinitions", Some(&example)))),
            Some(saved) => {
                @let path = format!("/messagedefinitions/{}", text::escaped(saved));
                (script_for("show", &format!("iottly definition show {saved}"), ("GET", &path, None)))
                (script_for("change", "iottly definition set definition.json", ("PUT", &path, Some(&example))))
                (script_for("delete", &format!("iottly definition rm {saved}"), ("DELETE", &path, None)))
            }
        }
    };
    let crumbs = [("Definitions", own)];
    let page = screen(title, &crumbs, content).respond(visitor).await?;
    Ok((status, page).into_response())
}

fn row_of(row: usize, option: &Row) -> Markup {
    let number = row + 1;
    html! { tr {
        td { input name={ "key" (row) } aria-label={ "Name of option " (number) } value=(option.key) maxlength="64" placeholder="name"; }
        td { select name={ "kind" (row) } aria-label={ "Values of option " (number) } {
            @for (known, name) in [("FreeValue", "any value"), ("MultipleChoice", "choices"), ("FixedValue", "a default")] {
                option value=(known) selected[known == option.kind] { (name) }
            }
        } }
        td { input name={ "value" (row) } aria-label={ "Default or choices of option " (number) } value=(option.value) placeholder="default or choices"; }
        td { select name={ "type" (row) } aria-label={ "Type of option " (number) } {
            option value="" { "any" }
            @for known in ValueType::ALL { option value=(known.as_str()) selected[known.as_str() == option.value_type] { (known.as_str()) } }
        } }
        td { input name={ "unit" (row) } aria-label={ "Unit of option " (number) } value=(option.unit) maxlength=(MAX_UNIT_BYTES) placeholder="unit"; }
        td { input name={ "min" (row) } aria-label={ "Minimum of option " (number) } value=(option.minimum) inputmode="decimal" maxlength="64" placeholder="min"; }
        td { input name={ "max" (row) } aria-label={ "Maximum of option " (number) } value=(option.maximum) inputmode="decimal" maxlength="64" placeholder="max"; }
        td { label.choice { input type="checkbox" name={ "optional" (row) } value="yes" aria-label={ "Option " (number) " is optional" } checked[option.optional]; span.only-phone { "optional" } } }
    } }
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
    let typed = Form::typed(fields);
    let body = typed.body();
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
            form_page(visitor, &typed, known.as_deref(), Some(Outcome::Refused(error))).await
        }
        Err(error) => Err(error),
    }
}

/// Fields of the form as they were typed, unchecked.
#[derive(Default)]
struct Form {
    cmd_type: String,
    description: String,
    is_event: bool,
    rows: Vec<Row>,
}

/// Option in the form.
#[derive(Default)]
struct Row {
    key: String,
    kind: String,
    value: String,
    value_type: String,
    unit: String,
    minimum: String,
    maximum: String,
    optional: bool,
}

impl Form {
    fn of(definition: &Definition) -> Self {
        Self {
            cmd_type: definition.cmd_type.clone(),
            description: definition.description.clone(),
            is_event: definition.direction == Direction::Event,
            rows: definition.options.iter().map(Row::of).collect(),
        }
    }

    fn typed(fields: &Fields) -> Self {
        let field = |name: &str| fields.get(name).unwrap_or_default().trim().to_owned();
        let rows = (0..MAX_ROWS).map(|row| {
            let cell = |name: &str| field(&format!("{name}{row}"));
            Row {
                key: cell("key"),
                kind: cell("kind"),
                value: cell("value"),
                value_type: cell("type"),
                unit: cell("unit"),
                minimum: cell("min"),
                maximum: cell("max"),
                optional: fields.get(&format!("optional{row}")).is_some(),
            }
        });
        Self {
            cmd_type: field("type"),
            description: field("description"),
            is_event: field("direction") == "event",
            rows: rows.filter(|row| !row.key.is_empty()).collect(),
        }
    }

    /// Returns the request of the API.
    fn body(&self) -> Map<String, Value> {
        let keys = self.rows.iter().map(|row| (row.key.clone(), row.json()));
        let direction = match self.is_event {
            true => Direction::Event,
            false => Direction::Command,
        };
        let metadata = json!({"description": self.description, "direction": self::direction(direction)});
        let mut body = Map::new();
        body.insert("metadata".to_owned(), metadata);
        body.insert(self.cmd_type.clone(), Value::Object(keys.collect()));
        body
    }

    /// Returns the request as an example for scripts.
    fn example(&self) -> String {
        if self.cmd_type.is_empty() {
            return r#"{"set_target":{"degrees":{"type":"FreeValue","value_type":"number","unit":"°C","maximum":60}},"metadata":{"direction":"command"}}"#
                .to_owned();
        }
        Value::Object(self.body()).to_string()
    }
}

impl Row {
    fn of(option: &DefinitionOption) -> Self {
        let facts = &option.facts;
        let (kind, value) = match &option.kind {
            OptionKind::FixedValue { value } => ("FixedValue", value.clone()),
            OptionKind::MultipleChoice { listvalues } => ("MultipleChoice", listvalues.join(", ")),
            OptionKind::FreeValue => ("FreeValue", facts.default.as_ref().map(plain).unwrap_or_default()),
        };
        let number = |number: &Option<serde_json::Number>| {
            number.as_ref().map(ToString::to_string).unwrap_or_default()
        };
        Self {
            key: option.key.clone(),
            kind: kind.to_owned(),
            value,
            value_type: facts.value_type.map_or("", ValueType::as_str).to_owned(),
            unit: facts.unit.clone().unwrap_or_default(),
            minimum: number(&facts.minimum),
            maximum: number(&facts.maximum),
            optional: option.optional,
        }
    }

    /// Returns the option as the API takes it. What is not a number stays text, which the API refuses with its reason.
    fn json(&self) -> Value {
        let kind = match self.kind.as_str() {
            kind @ ("FixedValue" | "MultipleChoice") => kind,
            _ => "FreeValue",
        };
        let mut option = json!({"type": kind});
        match kind {
            "FixedValue" => option["value"] = json!(self.value),
            "MultipleChoice" => {
                let choices: Vec<_> = self.value.split(',').map(str::trim).collect();
                option["listvalues"] = json!(choices);
            }
            _ if !self.value.is_empty() => option["default"] = Self::of_type(&self.value_type, &self.value),
            _ => {}
        }
        for (name, text) in [("value_type", &self.value_type), ("unit", &self.unit)] {
            if !text.is_empty() {
                option[name] = json!(text);
            }
        }
        for (name, text) in [("minimum", &self.minimum), ("maximum", &self.maximum)] {
            if !text.is_empty() {
                option[name] = Self::of_type(ValueType::Number.as_str(), text);
            }
        }
        if self.optional {
            option["optional"] = json!(true);
        }
        option
    }

    fn of_type(value_type: &str, text: &str) -> Value {
        let value_type = ValueType::ALL
            .into_iter()
            .find(|known| known.as_str() == value_type);
        let facts = OptionFacts {
            value_type,
            ..OptionFacts::default()
        };
        facts.value_of(text)
    }
}

/// Returns a value as the text of a form.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
