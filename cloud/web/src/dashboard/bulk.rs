//! Actions on many devices of the list: a question that counts them, then a job.

use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use iottly_core::model::{Definition, Device, Direction, Group, JobTask, Scopes};
use iottly_protocol::DeviceId;
use maud::{Markup, html};
use serde_json::{Map, Value, json};

use super::forms::Fields;
use super::kit::question::{Question, question};
use super::kit::script::script;
use super::layout::failure;
use super::shell::{Screen, Section};
use super::text;
use super::visitor::Visitor;
use crate::api::dto::JobBody;
use crate::api::jobs as rest;
use crate::error::ApiError;

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::invalid("invalid_form", message)
}

/// Returns the bar above the list of devices: what can be done with those that are selected.
pub(super) fn bar(visitor: &Visitor, groups: &[Group], filter: &str, matching: usize) -> Markup {
    let action = |kind: &str| format!("{}/devices/bulk/{kind}", visitor.base());
    html! {
        div.bulk {
            p { "With the selected devices" }
            input type="hidden" name="filter" value=(filter);
            @if matching > 1 { label.choice { input type="checkbox" name="all" value="yes"; "all " (matching) } }
            @if visitor.may(Scopes::WRITE) {
                label.sr for="to" { "Group" }
                select #to name="group" { @for group in groups { option value=(group.id) { (group.name) } } }
                button data-size="s" { "Move…" }
                button data-size="s" formaction=(action("tag")) { "Tag…" }
            }
            @if visitor.may(Scopes::COMMAND) { button data-size="s" formaction=(action("command")) { "Send…" } }
            button data-size="s" formaction=(action("export")) { "Export…" }
            @if visitor.may(Scopes::WRITE) { button data-size="s" data-kind="danger" formaction=(action("delete")) { "Delete…" } }
        }
    }
}

/// Asks before devices are moved, and starts the job once the visitor is sure.
pub(super) async fn move_devices(visitor: Visitor, fields: Fields) -> Response {
    act(&visitor, "move", &fields)
        .await
        .unwrap_or_else(|error| failure(&error))
}

/// Asks before something else is done with devices, and starts the job once the visitor is sure.
pub(super) async fn ask(
    visitor: Visitor,
    Path((_, kind)): Path<(String, String)>,
    fields: Fields,
) -> Response {
    if !JobTask::KINDS.contains(&kind.as_str()) {
        return failure(&ApiError::not_found());
    }
    act(&visitor, &kind, &fields)
        .await
        .unwrap_or_else(|error| failure(&error))
}

async fn act(visitor: &Visitor, kind: &str, fields: &Fields) -> Result<Response, ApiError> {
    let (access, list) = (&visitor.project, format!("{}/devices", visitor.base()));
    access.require(JobTask::scope_of(kind))?;
    let group = match kind {
        "move" => Some(group(visitor, fields).await?),
        _ => None,
    };
    let filter = fields.get("filter").unwrap_or_default();
    let is_all = fields.get("all") == Some("yes");
    let ids = fields
        .all("device")
        .map(str::parse)
        .collect::<Result<Vec<DeviceId>, _>>()
        .map_err(|_| ApiError::forbidden("device is unknown in this project"))?;
    let devices = match is_all {
        true => rest::chosen(access, None, Some(filter)).await?,
        false => rest::chosen(access, Some(&ids), None).await?,
    };
    let is_left = |device: &&Device| group.as_ref().is_none_or(|group| device.group != group.id);
    let left: Vec<DeviceId> = devices
        .iter()
        .filter(is_left)
        .map(|device| device.scope.device)
        .collect();
    if left.is_empty() {
        return Ok(Redirect::to(&format!("{list}?filter={}", text::escaped(filter))).into_response());
    }
    if fields.get("sure") == Some("yes") {
        let mut body = body(kind, fields)?;
        body.deployment_group = group.map(|group| group.id);
        match is_all {
            true => body.filter = Some(filter.to_owned()),
            false => body.devices = Some(left),
        }
        let job = rest::begin(access, body, None).await?;
        return Ok(Redirect::to(&format!("{}/jobs/{}", visitor.base(), job.id)).into_response());
    }
    let mut again: Vec<_> = ["group", "filter", "all"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), fields.get(name)?.to_owned())))
        .collect();
    again.extend(ids.iter().map(|id| ("device".to_owned(), id.to_string())));
    let definitions = match kind {
        "command" => access.definitions().await?,
        _ => Vec::new(),
    };
    let example = example(kind, is_all.then_some(filter), left.len(), group.as_ref());
    let words = words(kind, left.len(), group.as_ref(), &definitions);
    let action = match kind {
        "move" => format!("{list}/move"),
        kind => format!("{list}/bulk/{kind}"),
    };
    let asked = Question {
        heading: &words.heading,
        text: &words.text,
        action: &action,
        fields: &again,
        button: &words.button,
        back: ("Back, change nothing", &list),
    };
    let screen = Screen {
        section: Section::Devices,
        title: "Many devices",
        crumbs: &[("Devices", list.clone())],
        events: None,
        scripts: &[],
        content: html! {
            (question(&asked))
            (script(&line(kind, is_all.then_some(filter), &example, group.as_ref()), ("POST", "/jobs", Some(&example))))
        },
    };
    screen.respond(visitor).await
}

async fn group(visitor: &Visitor, fields: &Fields) -> Result<Group, ApiError> {
    let wanted = fields.get("group").unwrap_or_default();
    let unknown = || ApiError::missing("deployment group is unknown in this project");
    visitor
        .project
        .group(wanted.parse().map_err(|_| unknown())?)
        .await
}

/// Returns what belongs to a kind of job, without its devices.
fn body(kind: &str, fields: &Fields) -> Result<JobBody, ApiError> {
    let given = |name: &str| fields.get(name).map(str::trim).filter(|text| !text.is_empty());
    let tags = |name: &str| {
        let tags = given(name)?.split(',').map(|tag| tag.trim().to_owned());
        Some(tags.filter(|tag| !tag.is_empty()).collect::<Vec<_>>())
    };
    let values = |text: &str| {
        serde_json::from_str::<Map<String, Value>>(text)
            .map_err(|error| invalid(format!("values are not a JSON object: {error}")))
    };
    Ok(JobBody {
        kind: kind.to_owned(),
        confirm: given("confirm").and_then(|count| count.parse().ok()),
        cmd_type: given("cmd_type").map(str::to_owned),
        values: given("values").map(values).transpose()?,
        add: tags("add"),
        remove: tags("remove"),
        from: fields.moment("from")?,
        to: fields.moment("to")?,
        ..JobBody::default()
    })
}

/// Returns the job as the API takes it; what the form asks for has an example.
fn example(kind: &str, filter: Option<&str>, count: usize, group: Option<&Group>) -> String {
    let mut body = json!({ "kind": kind });
    match filter {
        Some(filter) => body["filter"] = json!(filter),
        None => body["devices"] = json!(["a2792ce8-216f-477c-a5cc-4f7e9f407e29"]),
    }
    match kind {
        "move" => body["deployment_group"] = json!(group.map(|group| group.id)),
        "tag" => body["add"] = json!(["field"]),
        "command" => {
            body["cmd_type"] = json!("echo");
            body["values"] = json!({"echo.content": "hi there!"});
        }
        "delete" => body["confirm"] = json!(count),
        _ => {}
    }
    body.to_string()
}

/// Returns the command of a job; what the form asks for has an example.
fn line(kind: &str, filter: Option<&str>, example: &str, group: Option<&Group>) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    let devices = match filter {
        Some(filter) => format!("--filter {}", quoted(filter)),
        None if kind == "command" => "--device DEVICE".to_owned(),
        None => "DEVICE…".to_owned(),
    };
    match (kind, filter) {
        ("move", _) => {
            let name = group.map_or("", |group| group.name.as_str());
            format!("iottly device move {devices} --to {}", quoted(name))
        }
        ("tag", _) => format!("iottly device tag {devices} --add field"),
        ("command", _) => format!("iottly device command echo content='hi there!' {devices}"),
        ("delete", _) => format!("iottly device rm {devices} --yes"),
        (_, Some(filter)) => format!(
            "iottly export --job --devices {} --file messages.jsonl.gz",
            quoted(filter)
        ),
        (_, None) => format!("iottly job start {}", quoted(example)),
    }
}

/// Texts of a question.
struct Words {
    heading: String,
    text: Markup,
    button: String,
}

fn words(kind: &str, count: usize, group: Option<&Group>, definitions: &[Definition]) -> Words {
    let devices = text::counted(count, "device");
    let goes_on = "It is a job of the cloud's: it continues when this page is closed.";
    match kind {
        "move" => {
            let name = group.map_or("", |group| group.name.as_str());
            Words {
                heading: format!("Move {devices} to {name}?"),
                text: html! { p { "They take the release of their new group at its next deployment. Nothing is sent to them now." } },
                button: format!("Move {devices}"),
            }
        }
        "tag" => Words {
            heading: format!("Change the tags of {devices}?"),
            text: html! {
                div.field { label for="add" { "Tags to add, separated by commas" } input #add name="add" maxlength="1024"; }
                div.field { label for="remove" { "Tags to remove" } input #remove name="remove" maxlength="1024"; }
                p.soft { (goes_on) }
            },
            button: format!("Tag {devices}"),
        },
        "command" => Words {
            heading: format!("Send a command to {devices}?"),
            text: html! {
                div.field { label for="cmd_type" { "Command" } select #cmd_type name="cmd_type" {
                    @for definition in definitions.iter().filter(|definition| definition.direction == Direction::Command) { option { (definition.cmd_type) } }
                } }
                div.field { label for="values" { "Values, as a JSON object" } textarea #values name="values" rows="3" placeholder=r#"{"echo.content": "hi there!"}"# {} }
                p.soft { "Devices that are offline get it when they come back within a day. " (goes_on) }
            },
            button: format!("Send it to {devices}"),
        },
        "export" => Words {
            heading: format!("Export the messages of {devices}?"),
            text: html! {
                div.fields {
                    div.field { label for="from" { "From, in UTC" } input #from name="from" type="datetime-local"; }
                    div.field { label for="to" { "To, in UTC" } input #to name="to" type="datetime-local"; }
                }
                p.soft { "Without times, all messages are in the file. It can be downloaded for a day. " (goes_on) }
            },
            button: format!("Export {devices}"),
        },
        _ => Words {
            heading: format!("Delete {devices}?"),
            text: html! {
                p { "Their histories are erased, and their boards cannot log in any more. This cannot be taken back." }
                div.field { label for="confirm" { "Number of devices, to confirm: " (count) } input #confirm name="confirm" inputmode="numeric" required autocomplete="off"; }
                p.soft { (goes_on) }
            },
            button: format!("Delete {devices}"),
        },
    }
}
