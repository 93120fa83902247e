//! The tab with a device's name, tags, group and settings, and its removal.

use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Redirect, Response};
use iottly_core::model::{Group, Scopes};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;

use super::super::devices::group_name;
use super::super::forms::Fields;
use super::super::kit::empty::shown;
use super::super::kit::notice::{Tone, notice};
use super::super::kit::question::{Question, question};
use super::super::kit::script::{quoted, script, script_for};
use super::super::layout::failure;
use super::super::visitor::Visitor;
use super::{Tab, absence};
use crate::api::body::{JsonBody, JsonText};
use crate::api::dto::UpdateDeviceBody;
use crate::api::{device as rest, device_settings};
use crate::auth::DeviceAccess;
use crate::error::ApiError;

/// Result of the last form.
#[derive(Deserialize)]
pub(in super::super) struct Done {
    done: Option<String>,
}

pub(in super::super) async fn show(
    visitor: Visitor,
    Path((_, id)): Path<(String, String)>,
    Query(done): Query<Done>,
) -> Response {
    let shown = async {
        let access = visitor.device(&id).await?;
        let done = done.done.map(|_| notice(Tone::Good, &html! { "Saved." }));
        page(&visitor, &access, done, None).await
    };
    shown.await.unwrap_or_else(|error| failure(&error))
}

/// Returns the tab; `typed` are the fields of a form that was refused.
async fn page(
    visitor: &Visitor,
    access: &DeviceAccess,
    above: Option<Markup>,
    typed: Option<&Fields>,
) -> Result<Response, ApiError> {
    // Parts that cannot be read leave the others.
    let (device, groups) = (
        access.device(),
        access.project().groups().await.unwrap_or_default(),
    );
    let id = device.scope.device;
    let own = format!("{}/devices/{id}/settings", visitor.base());
    let values = access
        .services()
        .store
        .device_settings(access.scope())
        .await
        .map_err(ApiError::from);
    let values = values.map(|state| {
        let desired = state.and_then(|state| state.desired);
        desired.map_or("{}".to_owned(), |desired| desired.0.values.get().to_owned())
    });
    let may = visitor.may(Scopes::WRITE);
    let content = html! {
        @if let Some(above) = above { (above) }
        div.split data-even {
            form.card.stack method="post" action=(own) {
                h2 { "Device" }
                div.field { label for="name" { "Name" } input #name name="name" required maxlength="128" value=(device.name); }
                div.field { label for="tags" { "Tags" } input #tags name="tags" value=(device.tags.join(", ")); span.hint { "Separated by commas" } }
                div.field { label for="group" { "Group" } (choice(&groups, device.group)) }
                @if may { div.actions { button data-kind="main" name="do" value="save" { "Save" } } }
            }
            form.card.stack method="post" action=(own) {
                h2 { "Settings for the firmware" }
                p.soft { "The firmware reads them with " code { "config.get" } ". An online device gets a change at once." }
                (shown(&values, "The settings could not be read", |values| html! {
                    div.field { label for="values" { "JSON object" } textarea.mono #values name="values" rows="8" spellcheck="false" { (values) } }
                    @if may { div.actions { button name="do" value="values" { "Save the settings" } } }
                }))
            }
        }
        (absence::card(device, &own, may, typed))
        section.card {
            dl.facts {
                dt { "Id" } dd { code { (id) } }
                dt { "MAC address" } dd { (device.mac_address.as_deref().unwrap_or("not reported")) }
                dt { "Agent" } dd { (device.agent_version.as_deref().unwrap_or("not reported")) }
            }
        }
        @if may { form.card.head method="post" action=(own) {
            div { h2 { "Remove the device" } p.soft { "Its history is erased, and its board cannot log in any more." } }
            div.actions { button data-kind="danger" name="do" value="remove" { "Remove…" } }
        } }
        (absence::script(id))
        (script(&format!("iottly device show {id}"), ("GET", &format!("/device/{id}/props"), None)))
        (script_for("rename it", &format!("iottly device rename {id} {}", quoted(&device.name)),
            ("PUT", &format!("/device/{id}/props"), Some(&json!({"name": device.name}).to_string()))))
        (script_for("change its tags", &format!("iottly device tag {id} --add attic"),
            ("PUT", &format!("/device/{id}/props"), Some(&json!({"tags": device.tags}).to_string()))))
        (script_for("move it to a group", &format!("iottly device move {id} --to {}", quoted(group_name(&groups, device.group))),
            ("PUT", &format!("/device/{id}/props"), Some(&json!({"deployment_group": device.group}).to_string()))))
        (script_for("change the settings for the firmware", &format!("iottly device config set {id} --file settings.json"), ("PUT", &format!("/device/{id}/config"), Some(values.as_deref().unwrap_or("{}")))))
        (script_for("remove it", &format!("iottly device rm {id} --yes"), ("DELETE", &format!("/device/{id}"), None)))
    };
    let tab = Tab {
        path: "/settings",
        events: None,
        scripts: &[],
        content,
    };
    tab.respond(visitor, access).await
}

fn choice(groups: &[Group], own: iottly_protocol::GroupId) -> Markup {
    // Without the others' names the form must not take the group away.
    html! { select #group name="group" { @if groups.is_empty() { option value=(own) selected { "as it is" } } @for group in groups { option value=(group.id) selected[group.id == own] { (group.name) } } } }
}

/// Does what the pressed button says.
pub(in super::super) async fn act(
    visitor: Visitor,
    Path((_, id)): Path<(String, String)>,
    fields: Fields,
) -> Response {
    acted(&visitor, &id, &fields)
        .await
        .unwrap_or_else(|error| failure(&error))
}

async fn acted(visitor: &Visitor, id: &str, fields: &Fields) -> Result<Response, ApiError> {
    let access = visitor.device(id).await?;
    let list = format!("{}/devices", visitor.base());
    let own = format!("{list}/{id}/settings");
    let done = match fields.get("do").unwrap_or_default() {
        "values" => save_values(visitor, id, fields).await,
        "absence" => absence::plan(visitor.device(id).await?, fields).await,
        "present" => absence::end(visitor.device(id).await?).await,
        "remove" if fields.get("sure") == Some("yes") => {
            rest::delete(access).await?;
            return Ok(Redirect::to(&list).into_response());
        }
        "remove" => {
            let asked = question(&Question {
                heading: &format!("Remove {}?", access.device().name),
                text: &html! { p { "Its history, logs and commands are erased. This cannot be taken back." } },
                action: &own,
                fields: &[("do".to_owned(), "remove".to_owned())],
                button: "Remove 1 device",
                back: ("Keep it", &own),
            });
            let tab = Tab {
                path: "/settings",
                events: None,
                scripts: &[],
                content: asked,
            };
            return tab.respond(visitor, &access).await;
        }
        _ => save(visitor, id, fields).await,
    };
    match done {
        Ok(()) => Ok(Redirect::to(&format!("{own}?done=1")).into_response()),
        Err(error) if error.status().is_client_error() => {
            let above = notice(Tone::Bad, &html! { (error.message()) });
            let page = page(visitor, &access, Some(above), Some(fields)).await?;
            Ok((error.status(), page).into_response())
        }
        Err(error) => Err(error),
    }
}

async fn save(visitor: &Visitor, id: &str, fields: &Fields) -> Result<(), ApiError> {
    let tags = fields.get("tags").unwrap_or_default().split(',');
    let tags = tags.map(str::trim).filter(|tag| !tag.is_empty());
    let group = fields.get("group").map(str::parse).transpose();
    let body = UpdateDeviceBody {
        name: fields.get("name").map(|name| name.trim().to_owned()),
        tags: Some(tags.map(str::to_owned).collect()),
        deployment_group: group.map_err(|_| ApiError::invalid("invalid_form", "group is not an id"))?,
    };
    rest::set_props(visitor.device(id).await?, JsonBody(body)).await?;
    Ok(())
}

async fn save_values(visitor: &Visitor, id: &str, fields: &Fields) -> Result<(), ApiError> {
    let text = fields.get("values").unwrap_or_default();
    let invalid = |reason: String| ApiError::invalid("invalid_form", format!("settings: {reason}"));
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|error| invalid(error.to_string()))?;
    let values = serde_json::value::to_raw_value(&object).map_err(|error| invalid(error.to_string()))?;
    device_settings::set(visitor.device(id).await?, JsonText(values)).await?;
    Ok(())
}
