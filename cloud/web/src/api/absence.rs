//! Endpoints for planned absences of devices.

use super::Answer;
use super::body::JsonBody;
use super::dto::{AbsenceBody, OneProps};
use super::names;
use crate::auth::DeviceAccess;
use crate::error::ApiError;
use iottly_cloud::clock;
use iottly_core::model::{Absence, Change, MAX_ABSENCE_MS, UnixMs};

/// Plans the absence of a device: while it lasts, the device is `absent` in place of `offline`, and no alert is raised for
/// that.
#[utoipa::path(
    put,
    path = "/device/{device}/absence",
    tag = "devices",
    request_body = AbsenceBody,
    responses((status = 200, description = "The properties of the device after the change", body = OneProps))
)]
pub(crate) async fn plan(access: DeviceAccess, JsonBody(body): JsonBody<AbsenceBody>) -> Answer<OneProps> {
    let now = clock::now();
    let planned = checked(body, now)?;
    set(access, Some(planned), now).await
}

/// Ends the planned absence of a device.
#[utoipa::path(
    delete,
    path = "/device/{device}/absence",
    tag = "devices",
    responses((status = 200, description = "The properties of the device after the change", body = OneProps))
)]
pub(crate) async fn end(access: DeviceAccess) -> Answer<OneProps> {
    set(access, None, clock::now()).await
}

async fn set(access: DeviceAccess, planned: Option<Absence>, now: UnixMs) -> Answer<OneProps> {
    let scope = access.scope();
    let change = Change::SetAbsence(scope.device, planned.map(Box::new));
    access.project().change(change, now).await?;
    access.services().presence.changed(scope);
    super::device::answer(access).await
}

fn checked(body: AbsenceBody, now: UnixMs) -> Result<Absence, ApiError> {
    let invalid = |text: String| ApiError::invalid("invalid_body", text);
    let from = body.from.unwrap_or(now);
    if body.until <= from.max(now) {
        return Err(invalid("until is not after the start of the absence".to_owned()));
    }
    if body.until.saturating_sub(from.min(now)) > MAX_ABSENCE_MS {
        return Err(invalid("the absence is longer than 366 days".to_owned()));
    }
    let reason = names::name("reason", &body.reason)?;
    Ok(Absence {
        from,
        until: body.until,
        reason,
    })
}
