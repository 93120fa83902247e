//! Planned absence on the tab with a device's settings.

use iottly_cloud::clock;
use iottly_core::model::{Device, UnixMs};
use iottly_protocol::DeviceId;
use maud::{Markup, html};
use serde_json::json;

use super::super::forms::Fields;
use super::super::kit::script::script_for;
use super::super::text;
use crate::api::absence as rest;
use crate::api::body::JsonBody;
use crate::api::dto::AbsenceBody;
use crate::auth::DeviceAccess;
use crate::error::ApiError;

/// Length of the absence in the example, in milliseconds: two days.
const EXAMPLE_MS: UnixMs = 2 * 24 * 60 * 60 * 1000;

/// Returns the card with the form; `typed` are the fields of a form that was refused.
pub(super) fn card(device: &Device, own: &str, may: bool, typed: Option<&Fields>) -> Markup {
    let now = clock::now();
    let planned = device.absence.as_ref().filter(|absence| now < absence.until);
    let typed = |name: &str| {
        typed
            .and_then(|fields| fields.get(name))
            .unwrap_or_default()
            .to_owned()
    };
    html! {
        form.card.stack method="post" action=(own) {
            h2 { "Planned absence" }
            @match planned {
                Some(absence) => p { "Planned from " (text::minute(absence.from)) " to " (text::minute(absence.until)) " UTC: " span.break { (absence.reason) } },
                None => p.soft { "While it lasts, the device is " code { "absent" } " in place of " code { "offline" } ", and no alert is raised for that." },
            }
            @if may {
                div.field { label for="from" { "From (UTC), now if empty" } input #from name="from" type="datetime-local" value=(typed("from")); }
                div.field { label for="until" { "Until (UTC)" } input #until name="until" type="datetime-local" value=(typed("until")); }
                div.field { label for="reason" { "Reason" } input #reason name="reason" maxlength="128" placeholder="moved to the workshop" value=(typed("reason")); }
                div.actions {
                    button name="do" value="absence" { "Plan the absence" }
                    @if planned.is_some() { button name="do" value="present" { "End it now" } }
                }
            }
        }
    }
}

/// Returns the box with the action as a command line and a request.
pub(super) fn script(id: DeviceId) -> Markup {
    let until = clock::now().saturating_add(EXAMPLE_MS);
    let body = json!({ "until": until, "reason": "moved" }).to_string();
    script_for(
        "plan an absence",
        &format!("iottly device absent {id} --until 2d --reason moved"),
        ("PUT", &format!("/device/{id}/absence"), Some(&body)),
    )
}

/// Plans the absence of the form.
///
/// # Errors
/// If a field is not what it has to be.
pub(super) async fn plan(access: DeviceAccess, fields: &Fields) -> Result<(), ApiError> {
    let no_end = || {
        ApiError::invalid(
            "invalid_form",
            "until: the absence needs an end, at most 366 days from now",
        )
    };
    let body = AbsenceBody {
        from: fields.moment("from")?,
        until: fields.moment("until")?.ok_or_else(no_end)?,
        reason: fields.get("reason").unwrap_or_default().trim().to_owned(),
    };
    rest::plan(access, JsonBody(body)).await.map(drop)
}

/// Ends the planned absence.
///
/// # Errors
/// If the visitor may not write, or the store fails.
pub(super) async fn end(access: DeviceAccess) -> Result<(), ApiError> {
    rest::end(access).await.map(drop)
}
