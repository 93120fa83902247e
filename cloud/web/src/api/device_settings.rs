//! Endpoints for the settings of a device's firmware: the desired ones and the ones that the device has
//! applied.

use iottly_protocol::limits::MAX_CONFIG_BYTES;

use super::Answer;
use super::body::JsonText;
use super::dto::SettingsDto;
use super::spaced::Spaced;
use crate::auth::DeviceAccess;
use crate::error::ApiError;
use iottly_cloud::clock;
use iottly_core::model::Change;

/// Returns the settings of a device: the desired ones and the ones that it has applied.
#[utoipa::path(
    get,
    path = "/device/{device}/config",
    tag = "devices",
    responses((status = 200, description = "The desired and the applied settings", body = SettingsDto))
)]
pub(crate) async fn show(access: DeviceAccess) -> Answer<SettingsDto> {
    let state = access.services().store.device_settings(access.scope()).await?;
    let state = state.ok_or_else(|| ApiError::forbidden("device is unknown in this project"))?;
    Ok(Spaced(state.into()))
}

/// Replaces all settings with the object in the body.
///
/// An online device gets them at once.
#[utoipa::path(
    put,
    path = "/device/{device}/config",
    tag = "devices",
    request_body = Object,
    responses((status = 200, description = "The desired and the applied settings", body = SettingsDto))
)]
pub(crate) async fn set(access: DeviceAccess, JsonText(values): JsonText) -> Answer<SettingsDto> {
    let bytes = values.get().len();
    if bytes > MAX_CONFIG_BYTES {
        return Err(ApiError::invalid(
            "invalid_body",
            format!("settings have {bytes} bytes, the limit is {MAX_CONFIG_BYTES}"),
        ));
    }
    let scope = access.scope();
    access
        .project()
        .change(Change::SetDeviceSettings(scope.device, values), clock::now())
        .await?;
    access.services().device_settings.send(scope).await?;
    show(access).await
}
