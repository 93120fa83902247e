//! Sends a command from a device's page.

use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use iottly_protocol::DeviceId;
use maud::{Markup, html};
use serde_json::{Map, Value};

use super::forms::Fields;
use super::layout::failure;
use super::visitor::Visitor;
use iottly_cloud::command::{CommandRequest, SubmitError};
use iottly_core::model::{Definition, DefinitionOption, Direction, OptionKind};

/// Renders a form for each command that the project defines.
pub(super) fn panel(
    device: DeviceId,
    definitions: &[Definition],
    sent: Option<&str>,
    problem: Option<&str>,
) -> Markup {
    let commands: Vec<_> = definitions
        .iter()
        .filter(|definition| definition.direction == Direction::Command)
        .collect();
    html! {
        section.card {
            h2 { "Send a command" }
            @if let Some(sent) = sent { p.notice role="status" { "Accepted as command " code { (sent) } "." } }
            @if let Some(problem) = problem { p.problem role="alert" { (problem) } }
            @if commands.is_empty() { p.muted { "The project defines no commands." } }
            @for (index, definition) in commands.iter().enumerate() {
                details open[index == 0] {
                    summary { (definition.cmd_type) }
                    @if !definition.description.is_empty() { p.muted { (definition.description) } }
                    form.stack method="post" action={ "/devices/" (device) "/command" } {
                        input type="hidden" name="cmd_type" value=(definition.cmd_type);
                        @for option in &definition.options { (field(&definition.cmd_type, option)) }
                        button { "Send " (definition.cmd_type) }
                    }
                }
            }
        }
    }
}

fn field(cmd_type: &str, option: &DefinitionOption) -> Markup {
    let name = format!("{cmd_type}.{}", option.key);
    html! {
        label for=(name) { (option.key) }
        @match &option.kind {
            OptionKind::FixedValue { value } => { input id=(name) name=(name) placeholder=(value); }
            OptionKind::MultipleChoice { listvalues } => {
                select id=(name) name=(name) { @if option.optional { option value="" {} } @for value in listvalues { option { (value) } } }
            }
            OptionKind::FreeValue => { input id=(name) name=(name) required[!option.optional]; }
        }
    }
}

pub(super) async fn send(visitor: Visitor, Path(id): Path<String>, fields: Fields) -> Response {
    let access = match visitor.project.into_device(&id).await {
        Ok(access) => access,
        Err(error) => return failure(&error),
    };
    let cmd_type = fields.get("cmd_type").unwrap_or_default().to_owned();
    let options = fields.0.into_iter().filter(|(key, _)| key != "cmd_type");
    let values: Map<String, Value> = options.map(|(key, value)| (key, Value::String(value))).collect();
    let request = CommandRequest {
        cmd_type,
        values,
        ttl_ms: None,
    };
    let device = access.scope().device;
    match access
        .services()
        .commands
        .submit(access.scope(), &request, access.services().time.received())
        .await
    {
        Ok(record) => Redirect::to(&format!("/devices/{device}?sent={}", record.id)).into_response(),
        Err(SubmitError::Store(error)) => failure(&error.into()),
        Err(error) => match super::devices::page_with_problem(&access, &error.to_string()).await {
            Ok(page) => page,
            Err(error) => failure(&error),
        },
    }
}
